package decode

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// The magic numbers of pcap files, in the byte order of the file
// (draft-ietf-opsawg-pcap).
const (
	pcapMicroseconds = 0xa1b2c3d4
	pcapNanoseconds  = 0xa1b23c4d
)

// maxCaptured bounds the length of a captured packet. libpcap's own bound.
const maxCaptured = 262144

// pcapOrder returns the byte order of a pcap file that begins with magic, read
// little-endian, or nil if it is none.
func pcapOrder(magic uint32) binary.ByteOrder {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], magic)
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if m := order.Uint32(b[:]); m == pcapMicroseconds || m == pcapNanoseconds {
			return order
		}
	}
	return nil
}

// pcapReader reads the classic format.
type pcapReader struct {
	file  *FileReader
	r     io.Reader
	order binary.ByteOrder
	nanos bool
	link  uint32
	head  [24]byte
	b     []byte
}

func (p *pcapReader) readHeader() error {
	h := p.head[:24]
	if err := readFull(p.r, h, "pcap header"); err != nil {
		return err
	}
	p.order = pcapOrder(binary.LittleEndian.Uint32(h))
	p.nanos = p.order.Uint32(h) == pcapNanoseconds
	p.link = p.order.Uint32(h[20:]) & 0xffff // above: whether there is a checksum
	return nil
}

func (p *pcapReader) next() (Datagram, error) {
	for {
		h := p.head[:16]
		if n, err := io.ReadFull(p.r, h); err == io.EOF && n == 0 {
			return Datagram{}, io.EOF
		} else if err != nil {
			return Datagram{}, fmt.Errorf("packet header: the file ends early: %w", ErrCapture)
		}
		length := p.order.Uint32(h[8:])
		if length > maxCaptured {
			return Datagram{}, fmt.Errorf("packet of %d octets: %w", length, ErrCapture)
		}
		p.b = grow(p.b, int(length))
		if err := readFull(p.r, p.b, "packet"); err != nil {
			return Datagram{}, err
		}
		d, ok := p.file.datagram(p.link, p.b)
		if !ok {
			continue
		}
		fraction := int64(p.order.Uint32(h[4:]))
		if !p.nanos {
			fraction *= 1000
		}
		d.Received = time.Unix(int64(p.order.Uint32(h)), fraction).UTC()
		return d, nil
	}
}
