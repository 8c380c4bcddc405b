#include "textflag.h"

// func axpy2AVX(dst, x, y *float32, a, b float32, n int)
TEXT ·axpy2AVX(SB), NOSPLIT, $0-40
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         y+16(FP), R8
	VBROADCASTSS a+24(FP), Y0
	VBROADCASTSS b+28(FP), Y1
	MOVQ         n+32(FP), CX
	XORQ         AX, AX

loop:
	VMOVUPS     (DI)(AX*4), Y2
	VMOVUPS     (SI)(AX*4), Y3
	VFMADD231PS Y3, Y0, Y2
	VMOVUPS     (R8)(AX*4), Y4
	VFMADD231PS Y4, Y1, Y2
	VMOVUPS     Y2, (DI)(AX*4)
	ADDQ        $8, AX
	CMPQ        AX, CX
	JLT         loop
	VZEROUPPER
	RET
