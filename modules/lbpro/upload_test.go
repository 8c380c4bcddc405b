package lbpro

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// trickle gives a byte for each value that it is sent, and ends when the channel closes.
type trickle chan struct{}

func (b trickle) Read(p []byte) (int, error) {
	if _, more := <-b; !more {
		return 0, io.EOF
	}
	p[0] = 'x'
	return 1, nil
}

// takeIn reads the body and says how long it is.
func takeIn(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	io.WriteString(w, strings.Repeat("x", int(min(n, 64))))
}

// A client that sends its body slowly says nothing of the backend: that is not silent, let
// alone hung, and what it takes afterwards is its time.
func TestSlowUploadsAreNotTheBackends(t *testing.T) {
	for name, length := range map[string]int64{"with a length": 40, "without": -1} {
		t.Run(name, func(t *testing.T) {
			one, two := serve(t, takeIn), serve(t, takeIn)
			s, p := startPool(t, "eject {\n\t\thang 100ms\n\t}", one, two)
			post := func(body io.Reader, length int64) reply {
				req := s.request(http.MethodPost, "/up", body)
				req.ContentLength = length
				return s.send(req)
			}
			for range 100 {
				post(strings.NewReader("xx"), 2).want(t, 200, "xx")
			}
			var speeds []float64
			for _, b := range p.View(clock()).Backends {
				speeds = append(speeds, b.Speed)
			}
			bytes, done := make(trickle), make(chan reply)
			go func() { done <- post(bytes, length) }()
			// Many times as long as the backends usually take, and as `hang` allows.
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for range 40 {
				bytes <- struct{}{}
				<-pace.C
				for _, b := range p.Backends() {
					if b.Silent() || b.State() != balance.Serving {
						t.Fatalf("while a client sends, %s is %v, silent %v", b.ID, b.State(), b.Silent())
					}
				}
			}
			close(bytes)
			r := <-done
			r.want(t, 200, strings.Repeat("x", 40))
			eventually(t, "the answer is taken in", func() bool { return p.View(clock()).Active == 0 })
			for i, b := range p.View(clock()).Backends {
				if b.Speed > 20*max(speeds[i], 1) {
					t.Errorf("%s counts as %.0f times slower than it was", b.ID, b.Speed/speeds[i])
				}
			}
			idle(t, p)
		})
	}
}
