package decode

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Templates learnt by one Decoder serve another on the same Store: the next
// worker, or the one after a reload.
func TestStoreIsShared(t *testing.T) {
	store := NewStore(Limits{})
	NewDecoder(store).Decode(nil, packet(ipfixMessage(0, set(2, template4()))))
	out, _, err := NewDecoder(store).Decode(nil, packet(ipfixMessage(0, set(256, data4()))))
	if err != nil || len(out) != 1 {
		t.Fatalf("%d records, %v", len(out), err)
	}
	// But neither another exporter's nor another domain's.
	other := packet(ipfixMessage(0, set(256, data4())))
	other.Exporter = netip.MustParseAddr("192.0.2.2")
	domain := packet(ipfixMessage(0, set(256, data4())))
	domain.Payload[15] = 2
	for _, p := range []Packet{other, domain} {
		if _, res, err := NewDecoder(store).Decode(nil, p); err != nil || res.UnknownSets != 1 {
			t.Errorf("%v, domain %d: %+v, %v", p.Exporter, res.Domain, res, err)
		}
	}
}

// A template for NetFlow v9 is not one for IPFIX.
func TestVersionsHaveTheirOwnTemplates(t *testing.T) {
	store := NewStore(Limits{})
	d := NewDecoder(store)
	d.Decode(nil, packet(netflow9Message(0, 1, set(0, template4()))))
	if _, res, _ := d.Decode(nil, packet(ipfixMessage(0, set(256, data4())))); res.UnknownSets != 1 {
		t.Errorf("%+v", res)
	}
}

func TestTemplatesExpire(t *testing.T) {
	store := NewStore(Limits{TTL: time.Minute})
	d := NewDecoder(store)
	at := func(after time.Duration, b []byte) Packet {
		p := packet(b)
		p.Received = testTime.Add(after)
		return p
	}
	data := ipfixMessage(0, set(256, data4()))
	d.Decode(nil, at(0, ipfixMessage(0, set(2, template4()))))
	for _, c := range []struct {
		after   time.Duration
		records int
	}{{50 * time.Second, 1}, {100 * time.Second, 1}, {161 * time.Second, 0}} { // use keeps it, for a minute
		if _, res, _ := d.Decode(nil, at(c.after, data)); res.Records != c.records {
			t.Errorf("after %v: %+v", c.after, res)
		}
	}
	store.Expire(testTime.Add(time.Hour))
	if s := store.Status(); s.Exporters != 0 || s.Templates != 0 || s.Forgotten.Records != 2 {
		t.Errorf("%+v", s)
	}
	// Room is made for new exporters without Expire, too.
	store.SetLimits(Limits{TTL: time.Minute, Exporters: 1})
	d.Decode(nil, at(0, data))
	p := at(time.Hour, data)
	p.Exporter = netip.MustParseAddr("192.0.2.2")
	if _, _, err := d.Decode(nil, p); err != nil {
		t.Error(err)
	}
	p.Exporter = netip.MustParseAddr("192.0.2.3")
	if _, _, err := d.Decode(nil, p); !errors.Is(err, ErrLimit) {
		t.Errorf("third exporter: %v", err)
	}
}

func TestNegativeTTLKeeps(t *testing.T) {
	store := NewStore(Limits{TTL: -1})
	d := NewDecoder(store)
	d.Decode(nil, packet(ipfixMessage(0, set(2, template4()))))
	p := packet(ipfixMessage(0, set(256, data4())))
	p.Received = testTime.AddDate(30, 0, 0)
	store.Expire(p.Received)
	if _, res, _ := d.Decode(nil, p); res.Records != 1 {
		t.Errorf("%+v", res)
	}
}

func TestWithdrawal(t *testing.T) {
	all := func() (*Store, *Decoder) {
		store := NewStore(Limits{})
		d := NewDecoder(store)
		_, res, err := d.Decode(nil, packet(ipfixMessage(0,
			set(2, template4(), words(257, 1, 1, 4), words(258, 1, 2, 4)), set(3, words(300, 2, 1, 144, 4, 34, 4)))))
		if err != nil || res.Templates != 4 {
			t.Fatalf("%+v, %v", res, err)
		}
		return store, d
	}
	for name, c := range map[string]struct {
		set  []byte
		left int
	}{
		"one":               {set(2, words(257, 0)), 3},
		"two":               {set(2, words(257, 0, 256, 0)), 2},
		"one, and a new":    {set(2, words(257, 0), words(400, 1, 1, 4)), 4},
		"all templates":     {set(2, words(2, 0)), 1},
		"all options":       {set(3, words(3, 0)), 3},
		"one that is not":   {set(2, words(999, 0)), 4},
		"options one by ID": {set(3, words(300, 0)), 3},
	} {
		t.Run(name, func(t *testing.T) {
			store, d := all()
			if _, _, err := d.Decode(nil, packet(ipfixMessage(0, c.set))); err != nil {
				t.Fatal(err)
			}
			if s := store.Status(); s.Templates != c.left {
				t.Errorf("%d templates left, want %d", s.Templates, c.left)
			}
			if store.Exporters()[0].Counters.Withdrawals == 0 {
				t.Error("not counted")
			}
		})
	}
}

func TestSequence(t *testing.T) {
	type step struct{ seq, n uint32 }
	for _, c := range []struct {
		name                        string
		steps                       []step
		lost, gaps, late, restarted uint64
	}{
		{"in order", []step{{5, 10}, {15, 3}, {18, 1}}, 0, 0, 0, 0},
		{"a gap", []step{{5, 10}, {20, 3}, {23, 1}}, 5, 1, 0, 0},
		{"wrapped", []step{{0xfffffffe, 4}, {2, 1}}, 0, 0, 0, 0},
		{"a gap across the wrap", []step{{0xfffffffe, 1}, {3, 1}}, 4, 1, 0, 0},
		{"late", []step{{10, 1}, {12, 1}, {11, 1}, {13, 1}}, 1, 1, 1, 0},
		{"restart", []step{{5_000_000, 1}, {0, 1}, {1, 1}}, 0, 0, 0, 1},
		{"jump ahead", []step{{0, 1}, {1 << 30, 1}, {1<<30 + 1, 1}}, 0, 0, 0, 1},
	} {
		var s sequence
		var got Counters
		for _, st := range c.steps {
			s.observe(st.seq, st.n, true, &got)
		}
		if got.Lost != c.lost || got.Gaps != c.gaps || got.Late != c.late || got.Restarts != c.restarted {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	// A restart soon after the beginning looks like late datagrams at first.
	var s sequence
	var got Counters
	s.observe(1000, 1, true, &got)
	for i := range uint32(100) {
		s.observe(i, 1, true, &got)
	}
	if got.Late != maxLateRun || got.Restarts != 1 {
		t.Errorf("early restart: %+v", got)
	}
	s.observe(105, 1, true, &got)
	if got.Lost != 5 {
		t.Errorf("after an early restart: %+v", got)
	}
}

// Each protocol counts something else.
func TestSequenceUnits(t *testing.T) {
	counters := func(messages ...[]byte) Counters {
		store := NewStore(Limits{})
		d := NewDecoder(store)
		for _, b := range messages {
			if _, _, err := d.Decode(nil, packet(b)); err != nil {
				t.Fatal(err)
			}
		}
		return store.Exporters()[0].Counters
	}
	v5 := func(seq int, count int) []byte {
		b := make([]byte, netflow5Header+count*netflow5Record)
		copy(b, words(5, count))
		copy(b[16:], words(0, seq))
		return b
	}
	if c := counters(v5(0, 3), v5(3, 2), v5(10, 1)); c.Lost != 5 {
		t.Errorf("v5 counts flows: %+v", c)
	}
	tpl, two := set(0, template4()), set(256, data4(), data4())
	if c := counters(netflow9Message(0, 3, tpl, two), netflow9Message(1, 2, two), netflow9Message(4, 2, two)); c.Lost != 2 || c.CountMismatches != 0 {
		t.Errorf("v9 counts datagrams: %+v", c)
	}
	tpl = set(2, template4())
	if c := counters(ipfixMessage(0, tpl, two), ipfixMessage(2, two), ipfixMessage(9, two)); c.Lost != 5 {
		t.Errorf("IPFIX counts data records: %+v", c)
	}
	// Records that cannot be counted hide a gap; the next one is seen again.
	unknown := set(999, words(1, 2))
	if c := counters(ipfixMessage(0, tpl, two), ipfixMessage(2, unknown), ipfixMessage(50, two), ipfixMessage(53, two)); c.Lost != 1 || c.UnknownSets != 1 || c.UnknownOctets != 4 {
		t.Errorf("IPFIX around an unknown template: %+v", c)
	}
}

// TestConcurrent lets workers decode the same exporters while the Store is
// expired and read; the race detector watches.
func TestConcurrent(t *testing.T) {
	store := NewStore(Limits{Exporters: 4})
	var workers sync.WaitGroup
	const datagrams = 500
	for w := range 4 {
		workers.Go(func() {
			d := NewDecoder(store)
			var out []flow.Record
			p := packet(ipfixMessage(0, set(2, template4()), set(256, data4())))
			for i := range datagrams {
				p.Exporter = netip.AddrFrom4([4]byte{192, 0, 2, byte(i+w) % 8})
				p.Received = testTime.Add(time.Duration(i) * time.Second)
				out, _, _ = d.Decode(out[:0], p)
			}
		})
	}
	for i := range 50 {
		store.Expire(testTime.Add(time.Duration(i) * time.Minute))
		store.Exporters()
		store.Status()
	}
	workers.Wait()
	s := store.Status()
	total := s.Forgotten
	for _, e := range store.Exporters() {
		total.Add(&e.Counters)
	}
	if total.Datagrams+uint64(s.ExportersRefused) != 4*datagrams {
		t.Errorf("%d decoded and %d refused of %d", total.Datagrams, s.ExportersRefused, 4*datagrams)
	}
}
