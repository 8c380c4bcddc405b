package flowmaster

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// connect makes a connection if there is none. A new one begins with the templates and
// its sequence numbers with 0.
func (e *Export) connect(ctx context.Context) error {
	e.connMu.Lock()
	have := e.conn != nil
	e.connMu.Unlock()
	if have {
		return nil
	}
	d := net.Dialer{Timeout: exportDialTimeout}
	conn, err := d.DialContext(ctx, e.network, e.address)
	if err != nil {
		return err
	}
	e.connMu.Lock()
	e.conn = conn
	e.connMu.Unlock()
	e.encoder.Reset()
	e.counters.connections.Add(1)
	if e.stream() {
		// Collectors say nothing; reading tells when one has gone, before a write is lost.
		go func() {
			b := make([]byte, 512)
			for {
				if _, err := conn.Read(b); err != nil {
					break
				}
			}
			e.drop(conn)
			select {
			case e.wake <- struct{}{}:
			default:
			}
		}()
	}
	return nil
}

// drop forgets and closes conn.
func (e *Export) drop(conn net.Conn) {
	e.connMu.Lock()
	if e.conn == conn {
		e.conn = nil
	}
	e.connMu.Unlock()
	conn.Close()
}

func (e *Export) disconnect() {
	e.connMu.Lock()
	conn := e.conn
	e.connMu.Unlock()
	if conn != nil {
		e.drop(conn)
	}
}

// Collectors on UDP have a buffer of some hundred datagrams: they get no more at once.
const (
	burstDatagrams = 16
	burstPause     = time.Millisecond
)

var errNoConnection = errors.New("the collector closed the connection")

// send sends templates that are due and all records that wait.
func (e *Export) send(within time.Duration) error {
	e.connMu.Lock()
	conn := e.conn
	e.connMu.Unlock()
	if conn == nil {
		return errNoConnection
	}
	e.mu.Lock()
	records := e.waiting
	e.waiting = nil
	e.mu.Unlock()
	var message []byte
	for n := 1; ; n++ {
		var taken int
		before := e.encoder.Sequence()
		message, taken = e.encoder.AppendMessage(message[:0], records, time.Now())
		if len(message) == 0 {
			return nil
		}
		written := uint64(e.encoder.Sequence() - before) // modulo 2^32
		records = records[taken:]
		err := conn.SetWriteDeadline(time.Now().Add(within))
		if err == nil {
			_, err = conn.Write(message)
		}
		switch {
		case err == nil:
			e.counters.messages.Add(1)
			e.counters.records.Add(written)
		case e.stream():
			e.counters.errors.Add(1)
			e.counters.dropped.Add(written)
			e.drop(conn)
			e.giveBack(records)
			return err
		default: // over UDP, what nobody took is a gap in the sequence numbers
			e.counters.errors.Add(1)
			e.counters.dropped.Add(written)
		}
		if n%burstDatagrams == 0 && !e.stream() {
			time.Sleep(burstPause)
		}
	}
}

// giveBack puts records in front of those that wait, as many as there is room for.
func (e *Export) giveBack(records []flow.Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	room := max(e.Queue-len(e.waiting), 0)
	if len(records) > room {
		e.counters.dropped.Add(uint64(len(records) - room))
		records = records[:room]
	}
	e.waiting = append(records, e.waiting...)
}
