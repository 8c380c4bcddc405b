package correlate

import (
	"context"
	"math/rand/v2"
	"runtime"
	"testing"
)

// What a live matrix says that it takes is what it was given.
func TestLiveBytes(t *testing.T) {
	f := plainFrame(mixedColumns(rand.New(rand.NewPCG(1, 1)), 200, 500)...)
	a, err := Prepare(context.Background(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var scores int64
	for _, w := range a.series {
		scores += int64(4 * len(w.z))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	runtime.ReadMemStats(&before)
	l, err := NewLive(a, f)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	given := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	runtime.KeepAlive(a)
	runtime.KeepAlive(f)
	if own := l.Bytes() - scores; own < given*8/10 || own > given*12/10 {
		t.Errorf("it says %d bytes beside the scores of the analysis, and has %d", own, given)
	}
}
