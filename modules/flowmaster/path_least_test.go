package flowmaster

import (
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// A connection that is opened into a queue has never seen the way without it: others have.
func TestConnectionsOpenedIntoAQueue(t *testing.T) {
	f := feedPaths(t, "a", "b", "c")
	f.feed("a", 10, good())
	young := good()
	young.RTT, young.MinRTT = 400*time.Millisecond, 380*time.Millisecond
	queueFor := func(seconds int) (h Health) {
		for range seconds {
			f.now = f.now.Add(time.Second)
			for _, b := range []string{"b", "c"} {
				f.feed(b, 1, good())
			}
			f.feed("a", 1, young)
			h = f.judge(1, "a")
		}
		return h
	}
	if h := queueFor(2); h.Score != 1 {
		t.Errorf("a queue of two seconds gives %+v", h)
	}
	if h := queueFor(4); h.Score > 0.6 || h.RTTInflation < 3 {
		t.Errorf("after six seconds it is %+v, want a queue", h)
	}
}

// Most of the readings in one second do not make a queue of it.
func TestOneBusySecondIsNoQueue(t *testing.T) {
	f := feedPaths(t, "a", "b", "c")
	for _, b := range []string{"a", "b", "c"} {
		f.feed(b, 10, good())
	}
	slow := good()
	slow.RTT = 400 * time.Millisecond
	for range 50 {
		f.feed("a", 2, slow)
	}
	if h := f.judge(5, "a"); h.Score != 1 {
		t.Errorf("two seconds with most of the readings give %+v", h)
	}
}

// What one address is near to says nothing of another, and the distance is forgotten.
func TestLeastRTTs(t *testing.T) {
	ms := time.Millisecond
	near, far := flow.AddrFrom4(1), flow.AddrFrom4(2)
	all := make(leastRTTs)
	for _, c := range []struct {
		at   int64
		peer flow.Addr
		seen time.Duration
		want time.Duration
	}{
		{1000, near, 5 * ms, 5 * ms},
		{1001, near, 9 * ms, 5 * ms},
		{1001, far, 80 * ms, 80 * ms},
		{1000 + leastSpan, near, 9 * ms, 5 * ms},
		{1000 + 2*leastSpan - 1, near, 9 * ms, 5 * ms},
		{1000 + 2*leastSpan, near, 9 * ms, 9 * ms}, // by another route since
		{1000 + 9*leastSpan, near, 70 * ms, 70 * ms},
	} {
		if got := all.take(c.at, c.peer, c.seen); got != c.want {
			t.Errorf("at %d the least is %v, want %v", c.at, got, c.want)
		}
	}
	for i := range uint32(3 * leastAddresses) {
		all.take(20000, flow.AddrFrom4(100+i), ms)
	}
	if len(all) != leastAddresses {
		t.Errorf("%d addresses are kept", len(all))
	}
	if got := all.take(20000, flow.AddrFrom4(9999), 3*ms); got != 3*ms {
		t.Errorf("one too many has %v", got)
	}
	all.take(20000+2*leastSpan, flow.AddrFrom4(9999), 3*ms)
	if len(all) != 1 {
		t.Errorf("%d addresses are kept of which nothing is known", len(all))
	}
}

// What is sent to one address is not held against what another is near to.
func TestAddressesOfOneBackend(t *testing.T) {
	f := feedPaths(t, "a", "b", "c")
	near, far := good(), good()
	near.RTT, near.MinRTT = time.Millisecond, time.Millisecond
	far.RTT, far.MinRTT = 200*time.Millisecond, 199*time.Millisecond
	for ago := range int64(10) {
		for i, d := range []conninfo.Sample{near, far} {
			for range 10 {
				f.endpoints.paths["a"].sentAt(f.now.Unix()-ago, flow.AddrFrom4(uint32(1+i)), &d, d.RTT)
			}
		}
	}
	if h := f.judge(5, "a"); h.Score != 1 || h.RTTInflation > 1.01 {
		t.Errorf("two addresses, near and far, give %+v", h)
	}
}
