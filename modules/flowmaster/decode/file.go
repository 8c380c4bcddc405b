package decode

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Datagram is a UDP datagram read from a file.
type Datagram struct {
	// Received is when it was captured; zero where the file does not say.
	Received time.Time
	// Source and Destination are invalid where the file does not say.
	Source, Destination netip.AddrPort
	// Payload is valid until the next call of Next.
	Payload []byte
}

// FileReader reads datagrams from a packet capture (pcap or pcapng), or takes
// the whole file for the payload of one datagram. Not safe for concurrent use.
type FileReader struct {
	format    string
	next      func() (Datagram, error)
	skipped   SkippedPackets
	fragments fragments
}

// SkippedPackets counts what a capture held besides UDP datagrams.
type SkippedPackets struct {
	NotUDP      int
	UnknownLink int // packets of link layers that are not known
	Fragments   int // of IP packets that were not all there
	Truncated   int // UDP datagrams that the capture cut short
}

// ErrCapture is wrapped by errors about the capture file itself. After one,
// the rest of the file cannot be read.
var ErrCapture = errors.New("malformed packet capture")

// maxDatagram is the longest UDP payload there can be (without jumbograms).
const maxDatagram = 65535

// NewFileReader finds out what r holds by how it begins.
func NewFileReader(r io.Reader) (*FileReader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	f := &FileReader{}
	head, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(head) == 4 {
		switch magic := binary.LittleEndian.Uint32(head); {
		case magic == pcapngSection:
			f.format = "pcapng"
			p := &pcapngReader{file: f, r: b}
			f.next = p.next
			return f, nil
		case pcapOrder(magic) != nil:
			f.format = "pcap"
			p := &pcapReader{file: f, r: b}
			f.next = p.next
			return f, p.readHeader()
		}
	}
	f.format = "payload"
	f.next = payloadReader(b)
	return f, nil
}

// Format returns "pcap", "pcapng" or "payload".
func (f *FileReader) Format() string { return f.format }

// Skipped returns what was passed over so far.
func (f *FileReader) Skipped() SkippedPackets {
	s := f.skipped
	s.Fragments = f.fragments.missed()
	return s
}

// Next returns the next datagram, or io.EOF after the last one.
func (f *FileReader) Next() (Datagram, error) { return f.next() }

// payloadReader takes all that is left for one payload, or for the IPFIX
// messages of a file (RFC 5655) one by one.
func payloadReader(r *bufio.Reader) func() (Datagram, error) {
	first := true
	return func() (Datagram, error) {
		length := maxDatagram
		if h, err := r.Peek(4); err == nil && binary.BigEndian.Uint16(h) == 10 {
			if n := int(binary.BigEndian.Uint16(h[2:])); n >= ipfixHeader {
				length = n
			}
		} else if err != nil && err != io.EOF {
			return Datagram{}, err
		}
		b, err := io.ReadAll(io.LimitReader(r, int64(length)))
		if err != nil {
			return Datagram{}, err
		}
		if length == maxDatagram {
			if _, err := r.Peek(1); err == nil {
				return Datagram{}, fmt.Errorf("neither a packet capture nor one datagram: longer than %d octets: %w", maxDatagram, ErrCapture)
			}
		}
		if !first && allZero(b) { // nothing, or padding
			return Datagram{}, io.EOF
		}
		first = false
		return Datagram{Payload: b}, nil
	}
}

// readFull is io.ReadFull that says ErrCapture for a file that ends early.
func readFull(r io.Reader, b []byte, what string) error {
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: the file ends early: %w", what, ErrCapture)
		}
		return err
	}
	return nil
}

// grow returns b with length n, which the caller has bounded.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
