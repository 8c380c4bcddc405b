package window

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newWindow(t *testing.T, o Options) *Window {
	t.Helper()
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func register(t *testing.T, w *Window, name string, k Kind) ID {
	t.Helper()
	id, err := w.Register(name, k)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wantValues(t *testing.T, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range got {
		if math.Abs(got[i]-want[i]) > 1e-9 || math.IsNaN(got[i]) != math.IsNaN(want[i]) {
			t.Fatalf("cell %d: got %v, want %v", i, got, want)
		}
	}
}

var gap = math.NaN()

func TestWindowKeepsNewestCellsAndGaps(t *testing.T) {
	w := newWindow(t, Options{Step: time.Second, Points: 5})
	a, b := register(t, w, "a", Gauge), register(t, w, "b", Gauge)
	for i := range 8 {
		at := t0.Add(time.Duration(i)*time.Second + time.Duration(i%3)*200*time.Millisecond)
		w.Append(at, []ID{a}, []float64{float64(i)})
		if i%2 == 0 {
			w.Append(at, []ID{b}, []float64{float64(10 * i)})
		}
	}
	f := w.Frame(0)
	wantValues(t, f.Signals[0].Values, []float64{3, 4, 5, 6, 7})
	wantValues(t, f.Signals[1].Values, []float64{gap, 40, gap, 60, gap})
	if got := f.Grid.Time(4).Sub(f.Grid.Start); got != 4*time.Second || f.Grid.N != 5 {
		t.Errorf("grid %+v", f.Grid)
	}
	wantValues(t, w.Frame(2).Signals[0].Values, []float64{6, 7})
}

func TestWindowCounterRatesAndResets(t *testing.T) {
	w := newWindow(t, Options{Step: 10 * time.Second, Points: 10})
	c := register(t, w, "c_total", Counter)
	at, values := []int{0, 10, 21, 30, 40, 100}, []float64{100, 150, 205, 20, 40, 50}
	for i := range at {
		w.Append(t0.Add(time.Duration(at[i])*time.Second), []ID{c}, values[i:i+1])
	}
	// 205 → 20 is a reset: 20 counted in 9 s. 60 s of silence give no rate.
	wantValues(t, w.Frame(0).Signals[0].Values,
		[]float64{5, 5, 20.0 / 9, 2, gap, gap, gap, gap, gap, gap})
}

func TestWindowClockSteps(t *testing.T) {
	w := newWindow(t, Options{Step: time.Second, Points: 4})
	a := register(t, w, "a", Gauge)
	put := func(sec int, v float64) { w.Append(t0.Add(time.Duration(sec)*time.Second), []ID{a}, []float64{v}) }
	put(0, 1)
	put(1, 2)
	put(1000, 3) // a leap ahead
	wantValues(t, w.Frame(0).Signals[0].Values, []float64{3})
	put(1001, 4)
	put(999, 9)                       // late, but within the window: its own cell
	for _, sec := range []int{5, 6} { // set back: not yet believed
		put(sec, 5)
	}
	wantValues(t, w.Frame(0).Signals[0].Values, []float64{3, 4})
	put(7, 6)
	put(8, 7)
	wantValues(t, w.Frame(0).Signals[0].Values, []float64{6, 7})
	if s := w.Stats(); s.Restarts != 2 || s.Late != 2 {
		t.Errorf("stats %+v", s)
	}
	w.Append(t0.AddDate(9000, 0, 0), []ID{a}, []float64{math.Inf(1)})
	if got := w.Frame(0).Signals[0].Values; len(got) != 1 || !math.IsNaN(got[0]) {
		t.Errorf("after a leap to the end of time: %v", got)
	}
}

func TestWindowIsBounded(t *testing.T) {
	w := newWindow(t, Options{Step: time.Second, Points: 3, Signals: 2})
	a := register(t, w, "a", Gauge)
	register(t, w, "silent", Gauge)
	if _, err := w.Register("c", Gauge); !errors.Is(err, ErrFull) {
		t.Fatalf("third of two signals: %v", err)
	}
	for i := range 5 {
		w.Append(t0.Add(time.Duration(i)*time.Second), []ID{a, 77, -1}, []float64{1, 1, 1})
	}
	c := register(t, w, "c", Gauge) // takes the silent one's place
	w.Append(t0.Add(4*time.Second), []ID{c}, []float64{8})
	f := w.Frame(0)
	if f.Index("silent") != -1 || f.Index("c") != 1 {
		t.Errorf("names %v", f.Names())
	}
	wantValues(t, f.Signals[1].Values, []float64{gap, gap, 8})
	s := w.Stats()
	if s.Signals != 2 || s.Refused != 1 || s.Evicted != 1 || s.Bytes < 2*3*8 {
		t.Errorf("stats %+v", s)
	}
	for _, o := range []Options{{}, {Step: time.Second, Points: -1}, {Step: time.Second, Signals: MaxSignals + 1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestWindowConcurrentUse(t *testing.T) {
	w := newWindow(t, Options{Step: time.Second, Points: 16, Signals: 8})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			id, err := w.Register(fmt.Sprint(g), Gauge)
			if err != nil {
				t.Error(err)
			}
			for i := range 200 {
				w.Append(t0.Add(time.Duration(i)*time.Second), []ID{id}, []float64{float64(i)})
				w.Frame(4)
				w.Stats()
			}
		})
	}
	wg.Wait()
	if f := w.Frame(0); len(f.Signals) != 4 || f.Grid.N != 16 {
		t.Errorf("%d signals, %d cells", len(f.Signals), f.Grid.N)
	}
}

func BenchmarkAppend1000(b *testing.B) {
	w, _ := New(Options{Step: time.Second})
	ids, values := make([]ID, 1000), make([]float64, 1000)
	for i := range ids {
		ids[i], _ = w.Register(fmt.Sprint(i), Gauge)
	}
	at := t0
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(time.Second)
		w.Append(at, ids, values)
	}
}
