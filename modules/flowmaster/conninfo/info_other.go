//go:build !linux

package conninfo

import (
	"errors"
	"syscall"
)

// Supported says whether readings have more than counts of octets.
const Supported = false

// Note says what is missing here.
const Note = "TCP state (round-trip times, retransmissions) is read on Linux only; here there are octets, connections and connect times"

// Reader reads connections, one at a time.
type Reader struct{}

// NewReader returns a Reader.
func NewReader() *Reader { return new(Reader) }

func (*Reader) read(syscall.RawConn, *Sample, bool, bool) error { return errors.ErrUnsupported }

// held is what is held on to of a connection while it is closed: nothing here.
type held struct{}

func hold(syscall.RawConn) held { return held{} }

func (held) release(*Reader, *Sample) {}
