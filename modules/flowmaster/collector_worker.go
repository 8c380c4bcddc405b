package flowmaster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// collectWorker receives on one socket and decodes what comes.
type collectWorker struct {
	u       *UDPCollector
	env     CollectorEnv
	outer   net.PacketConn // what Caddy counts the users of
	conn    *net.UDPConn
	buffer  int // what the kernel granted
	number  int
	decoder *decode.Decoder
	other   *exporterCounters

	out          []flow.Record
	lastIP       netip.Addr
	lastExporter *exporterCounters

	stopping  atomic.Bool
	done      chan struct{}
	datagrams atomic.Uint64
	records   atomic.Uint64

	dropsMu sync.Mutex
	drops   uint32 // as the kernel last said
	dropped uint64
}

// nextWorker spreads workers over the shards of the monitor.
var nextWorker atomic.Uint32

// listen opens the socket of one worker, which does not run yet.
func (u *UDPCollector) listen(na caddy.NetworkAddress, offset uint, env CollectorEnv) (*collectWorker, error) {
	ln, err := na.Listen(context.Background(), offset, net.ListenConfig{})
	if err != nil {
		return nil, err
	}
	outer, ok := ln.(net.PacketConn)
	if !ok {
		return nil, fmt.Errorf("%T is no socket for datagrams", ln)
	}
	inner := outer
	for {
		w, ok := inner.(interface{ Unwrap() net.PacketConn })
		if !ok {
			break
		}
		inner = w.Unwrap()
	}
	conn, ok := inner.(*net.UDPConn)
	if !ok {
		outer.Close()
		return nil, fmt.Errorf("%T is no UDP socket", inner)
	}
	w := &collectWorker{
		u: u, env: env, outer: outer, conn: conn,
		number: int(nextWorker.Add(1) - 1), decoder: decode.NewDecoder(env.Templates),
		other: countersOf(otherExporters), done: make(chan struct{}),
	}
	w.buffer = setReceiveBuffer(conn, u.ReceiveBuffer)
	if w.buffer > 0 && w.buffer < u.ReceiveBuffer {
		env.Logger.Info("the kernel grants less memory for datagrams than receive_buffer asks for: raise net.core.rmem_max",
			zap.String("address", conn.LocalAddr().String()), zap.Int("receive_buffer", u.ReceiveBuffer), zap.Int("granted", w.buffer))
	}
	return w, nil
}

// liveWorkers are those with a socket that can be asked for its drops.
var (
	liveMu      sync.Mutex
	liveWorkers []*collectWorker
)

func (w *collectWorker) start() {
	liveMu.Lock()
	liveWorkers = append(liveWorkers, w)
	liveMu.Unlock()
	go w.run()
}

// stop takes in what has arrived, and closes the socket.
func (w *collectWorker) stop() {
	w.stopping.Store(true)
	liveMu.Lock()
	started := slices.Contains(liveWorkers, w)
	liveWorkers = slices.DeleteFunc(liveWorkers, func(o *collectWorker) bool { return o == w })
	liveMu.Unlock()
	if started {
		quiesce(w.conn)
		// Wakes the worker, which then empties the socket.
		if err := w.conn.SetReadDeadline(time.Now()); err != nil {
			w.outer.Close()
		}
		<-w.done
	}
	w.kernelDrops()
	w.outer.Close()
}

// drainMost bounds how long a worker goes on with what has arrived before its end.
const drainMost = 2 * time.Second

func (w *collectWorker) run() {
	defer close(w.done)
	b := newBatch(w.conn)
	for {
		n, err := b.read()
		if err != nil {
			if w.stopping.Load() || errors.Is(err, net.ErrClosed) {
				break
			}
			w.env.Logger.Warn("receiving datagrams", zap.String("address", w.conn.LocalAddr().String()), zap.Error(err))
			time.Sleep(100 * time.Millisecond)
			continue
		}
		w.take(b, n, time.Now())
	}
	for end := time.Now().Add(drainMost); time.Now().Before(end); {
		n := b.poll()
		if n == 0 {
			return
		}
		w.take(b, n, time.Now())
	}
}

// flushAt bounds how many records wait for the end of a batch.
const flushAt = 4096

// take decodes the n datagrams of a batch.
func (w *collectWorker) take(b *batch, n int, now time.Time) {
	w.out = w.out[:0]
	for i := range n {
		ip, payload := b.datagram(i)
		w.guard(func() { w.datagram(ip, payload, now) })
		if len(w.out) >= flushAt {
			w.flush()
		}
	}
	w.flush()
	w.datagrams.Add(uint64(n))
}

// guard keeps a fault of ours from ending the process.
func (w *collectWorker) guard(f func()) {
	defer func() {
		if r := recover(); r != nil {
			w.other.decodeErrors.Add(1)
			w.env.Logger.Error("a datagram was given up", zap.Any("panic", r), zap.Stack("stack"))
		}
	}()
	f()
}

func (w *collectWorker) flush() {
	if len(w.out) == 0 {
		return
	}
	w.guard(func() {
		w.env.Take(w.number, w.out)
		w.records.Add(uint64(len(w.out)))
	})
	w.out = w.out[:0]
}

func (w *collectWorker) datagram(ip netip.Addr, payload []byte, now time.Time) {
	if ip != w.lastIP {
		w.lastIP, w.lastExporter = ip, w.u.exporter(ip)
	}
	c := w.lastExporter
	if c == nil {
		w.other.datagrams.Add(1)
		w.other.dropped.Add(1)
		return
	}
	c.datagrams.Add(1)
	source, err := decode.Identify(payload)
	if err != nil || !slices.Contains(w.u.sources, source) {
		c.decodeErrors.Add(1)
		return
	}
	var res decode.Result
	w.out, res, err = w.decoder.Decode(w.out, decode.Packet{Exporter: ip, Received: now, Payload: payload, Sampling: w.u.Sampling})
	c.records.Add(uint64(res.Records))
	if res.Lost > 0 {
		c.sequenceGaps.Add(uint64(res.Lost))
	}
	if res.UnknownSets > 0 {
		c.templateMissing.Add(uint64(res.UnknownSets))
	}
	switch {
	case err == nil:
	case errors.Is(err, decode.ErrRate), errors.Is(err, decode.ErrLimit) && res == (decode.Result{Source: res.Source}):
		c.dropped.Add(1)
	default:
		c.decodeErrors.Add(1)
	}
}

// kernelDrops returns how many datagrams the kernel dropped at this socket, and counts
// those that are new.
func (w *collectWorker) kernelDrops() uint64 {
	w.dropsMu.Lock()
	defer w.dropsMu.Unlock()
	if n, ok := socketDrops(w.conn); ok {
		added := uint64(n - w.drops) // modulo 2^32, as the kernel counts
		w.drops = n
		w.dropped += added
		countersOf(anyExporter).kernelDrops.Add(added)
	}
	return w.dropped
}

// readKernelDrops brings the counter of kernel drops up to date.
func readKernelDrops() {
	liveMu.Lock()
	defer liveMu.Unlock()
	for _, w := range liveWorkers {
		w.kernelDrops()
	}
}

func (w *collectWorker) status() SocketStatus {
	return SocketStatus{
		Address: w.conn.LocalAddr().String(), ReceiveBuffer: w.buffer, KernelDrops: w.kernelDrops(),
		Datagrams: w.datagrams.Load(), Records: w.records.Load(),
	}
}
