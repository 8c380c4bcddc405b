package decode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"math/bits"
	"time"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng).
const (
	pcapngSection   = 0x0a0d0d0a // the same in either byte order
	pcapngInterface = 1
	pcapngPacket    = 2 // obsolete
	pcapngSimple    = 3
	pcapngEnhanced  = 6
	pcapngByteOrder = 0x1a2b3c4d
)

const (
	// maxBlock bounds the blocks that are read: a packet and its options.
	maxBlock = maxCaptured + 65536
	// maxInterfaces bounds the interfaces of a section.
	maxInterfaces = 4096
	// maxSeconds is the end of the year 9999.
	maxSeconds = 253_402_300_799
)

// pcapngReader reads the newer format: blocks, in sections that each have
// their own byte order and interfaces.
type pcapngReader struct {
	file       *FileReader
	r          io.Reader
	order      binary.ByteOrder
	interfaces []captureInterface
	head       [12]byte
	b          []byte
}

type captureInterface struct {
	link    uint32
	snap    uint32
	perUnit uint64 // units of its timestamps in a second
}

func (p *pcapngReader) next() (Datagram, error) {
	for {
		kind, body, err := p.block()
		if err != nil {
			return Datagram{}, err
		}
		var d Datagram
		ok := false
		switch kind {
		case pcapngInterface:
			if err := p.addInterface(body); err != nil {
				return Datagram{}, err
			}
		case pcapngEnhanced, pcapngPacket:
			d, ok, err = p.packet(kind, body)
		case pcapngSimple:
			d, ok, err = p.simplePacket(body)
		}
		if err != nil {
			return Datagram{}, err
		}
		if ok {
			return d, nil
		}
	}
}

// block reads the next block that is of use. Others are passed over, however
// long they are.
func (p *pcapngReader) block() (kind uint32, body []byte, err error) {
	h := p.head[:8]
	if n, err := io.ReadFull(p.r, h); err == io.EOF && n == 0 {
		return 0, nil, io.EOF
	} else if err != nil {
		return 0, nil, fmt.Errorf("block header: the file ends early: %w", ErrCapture)
	}
	if binary.LittleEndian.Uint32(h) == pcapngSection {
		return pcapngSection, nil, p.section(h)
	}
	if p.order == nil {
		return 0, nil, fmt.Errorf("a block before the first section: %w", ErrCapture)
	}
	kind, length := p.order.Uint32(h), p.order.Uint32(h[4:])
	if length < 12 || length%4 != 0 {
		return 0, nil, fmt.Errorf("block of %d octets: %w", length, ErrCapture)
	}
	switch kind {
	case pcapngInterface, pcapngPacket, pcapngSimple, pcapngEnhanced:
		if length > maxBlock {
			return 0, nil, fmt.Errorf("block of %d octets: %w", length, ErrCapture)
		}
		p.b = grow(p.b, int(length-8))
		if err := readFull(p.r, p.b, "block"); err != nil {
			return 0, nil, err
		}
		return kind, p.b[:length-12], nil // without the length repeated at its end
	default:
		return kind, nil, p.discard(int64(length) - 8)
	}
}

// section begins a section; h are the first 8 octets of its header.
func (p *pcapngReader) section(h []byte) error {
	magic := p.head[8:12]
	if err := readFull(p.r, magic, "section header"); err != nil {
		return err
	}
	switch {
	case binary.LittleEndian.Uint32(magic) == pcapngByteOrder:
		p.order = binary.LittleEndian
	case binary.BigEndian.Uint32(magic) == pcapngByteOrder:
		p.order = binary.BigEndian
	default:
		return fmt.Errorf("section header: byte order %x: %w", magic, ErrCapture)
	}
	p.interfaces = p.interfaces[:0]
	length := p.order.Uint32(h[4:])
	if length < 28 || length%4 != 0 {
		return fmt.Errorf("section header of %d octets: %w", length, ErrCapture)
	}
	return p.discard(int64(length) - 12)
}

func (p *pcapngReader) discard(n int64) error {
	if _, err := io.CopyN(io.Discard, p.r, n); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("block: the file ends early: %w", ErrCapture)
		}
		return err
	}
	return nil
}

// addInterface takes in an interface description: its link layer, and from
// its options the unit of its timestamps.
func (p *pcapngReader) addInterface(b []byte) error {
	const optionResolution = 9
	if len(b) < 8 || len(p.interfaces) >= maxInterfaces {
		return fmt.Errorf("interface %d: %w", len(p.interfaces), ErrCapture)
	}
	i := captureInterface{link: uint32(p.order.Uint16(b)), snap: p.order.Uint32(b[4:]), perUnit: 1e6}
	for o := b[8:]; len(o) >= 4; {
		code, n := p.order.Uint16(o), int(p.order.Uint16(o[2:]))
		o = o[4:]
		if code == 0 || n > len(o) {
			break
		}
		if code == optionResolution && n >= 1 {
			if units, ok := resolution(o[0]); ok {
				i.perUnit = units
			}
		}
		o = o[min(n+(-n&3), len(o)):]
	}
	p.interfaces = append(p.interfaces, i)
	return nil
}

// resolution returns how many units there are in a second: a power of 10, or
// of 2 if the top bit is set.
func resolution(v byte) (units uint64, ok bool) {
	if v&0x80 != 0 {
		return 1 << (v & 0x7f), v&0x7f < 64
	}
	if v > 19 {
		return 0, false
	}
	units = 1
	for range v {
		units *= 10
	}
	return units, true
}

// packet reads an enhanced or an obsolete packet block; their heads differ in
// how they say the interface.
func (p *pcapngReader) packet(kind uint32, b []byte) (d Datagram, ok bool, err error) {
	if len(b) < 20 {
		return d, false, fmt.Errorf("packet block of %d octets: %w", len(b), ErrCapture)
	}
	n := p.order.Uint32(b)
	if kind == pcapngPacket {
		n = uint32(p.order.Uint16(b))
	}
	length := p.order.Uint32(b[12:])
	if int64(n) >= int64(len(p.interfaces)) || int64(length) > int64(len(b)-20) {
		return d, false, fmt.Errorf("packet of %d octets on interface %d: %w", length, n, ErrCapture)
	}
	i := &p.interfaces[n]
	if d, ok = p.file.datagram(i.link, b[20:20+length]); ok {
		d.Received = i.time(uint64(p.order.Uint32(b[4:]))<<32 | uint64(p.order.Uint32(b[8:])))
	}
	return d, ok, nil
}

// simplePacket reads a simple packet block: one of interface 0, with no time.
func (p *pcapngReader) simplePacket(b []byte) (d Datagram, ok bool, err error) {
	if len(b) < 4 || len(p.interfaces) == 0 {
		return d, false, fmt.Errorf("simple packet block of %d octets: %w", len(b), ErrCapture)
	}
	i := &p.interfaces[0]
	length := min(int64(p.order.Uint32(b)), int64(len(b)-4))
	if i.snap > 0 {
		length = min(length, int64(i.snap))
	}
	d, ok = p.file.datagram(i.link, b[4:4+length])
	return d, ok, nil
}

func (i *captureInterface) time(units uint64) time.Time {
	seconds, rest := units/i.perUnit, units%i.perUnit
	high, low := bits.Mul64(rest, 1e9) // rest is below perUnit, so is high
	nanoseconds, _ := bits.Div64(high, low, i.perUnit)
	return time.Unix(int64(min(seconds, maxSeconds)), int64(nanoseconds)).UTC()
}
