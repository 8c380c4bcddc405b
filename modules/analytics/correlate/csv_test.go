package correlate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// writeCSV writes columns sampled at Unix seconds.
func writeCSV(times []string, names []string, columns ...[]float64) string {
	var b strings.Builder
	b.WriteString("time," + strings.Join(names, ",") + "\n")
	for i, t := range times {
		b.WriteString(t)
		for _, c := range columns {
			b.WriteByte(',')
			if !math.IsNaN(c[i]) {
				fmt.Fprintf(&b, "%g", c[i])
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func unixTimes(at []float64, step float64) []string {
	out := make([]string, len(at))
	for i, t := range at {
		out[i] = fmt.Sprintf("%.3f", 1.7e9+step*t)
	}
	return out
}

func mustRead(t *testing.T, text string) *window.Frame {
	t.Helper()
	f, _, err := ReadCSV(strings.NewReader(text), CSVOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestFileToLines takes a file with jitter, gaps, counters and a season from
// bytes to lines.
func TestFileToLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n, lag = 500, 7
	at := jittered(rng, n)
	cause, effect := follower(rng, process{"", autoregressive(.7), sine(5, 50)}, at, lag)
	// The effect as a counter of bytes: its rate follows, and it is reset now and then.
	total, counter := 0.0, make([]float64, n)
	for i := range counter {
		dt := 15.0
		if i > 0 {
			dt = 15 * (at[i] - at[i-1])
		}
		total += dt * (100 + 5*effect[i])
		if i%190 == 150 {
			total = 20
		}
		counter[i] = total
	}
	other, flat := process{"", autoregressive(.7), sine(5, 50)}.draw(rng, at), make([]float64, n)
	punch(rng, cause, .1)
	punch(rng, counter, .1)
	text := writeCSV(unixTimes(at, 15), []string{"cause", "effect_total", "other one", "flat"}, cause, counter, other, flat)
	f, notes, err := ReadCSV(strings.NewReader(text), CSVOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Grid.Step != 15*time.Second || f.Grid.N != n || len(notes) != 1 || f.Signals[1].Kind != window.Counter {
		t.Fatalf("grid %+v, notes %q", f.Grid, notes)
	}
	r := lagged(t, f, Options{})
	var found, all bytes.Buffer
	if err := WriteText(&found, r.Significant(), true); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(found.String()), "\n")
	var x, y string
	var lagSeconds, rr, rho, p, q, nEff float64
	var samples int
	if len(lines) != 2 || lines[0] != Header {
		t.Fatalf("%q", lines)
	}
	if _, err := fmt.Sscan(lines[1], &x, &y, &lagSeconds, &rr, &rho, &p, &q, &samples, &nEff); err != nil {
		t.Fatal(err)
	}
	if x != "cause" || y != "effect_total" || math.Abs(lagSeconds-15*lag) > 15 || rr < .3 || rho < .3 || q > .05 || samples < 300 || nEff > float64(samples) {
		t.Errorf("%s", lines[1])
	}
	if err := WriteText(&all, r.All(), false); err != nil {
		t.Fatal(err)
	}
	if s := all.String(); strings.Count(s, "\n") != 6 || !strings.Contains(s, `cause "other one" `) || !strings.Contains(s, "flat NaN NaN NaN NaN NaN 0 NaN") {
		t.Errorf("%s", s)
	}
	var doc struct {
		Summary Summary
		Pairs   []map[string]any
	}
	var out bytes.Buffer
	if err := WriteJSON(&out, r.Summary(notes...), r.All()); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Pairs) != 6 || doc.Summary.Tests != 3 || doc.Summary.Significant != 1 || len(doc.Summary.LeftOut) != 1 || doc.Summary.LeftOut[0].Reason != unfitConstant {
		t.Errorf("%s", out.String())
	}
	for _, key := range []string{"x", "y", "lag_seconds", "r", "rho", "p", "q", "n", "n_eff", "method", "window", "missing_pct", "caveats", "verdict"} {
		if _, ok := doc.Pairs[0][key]; !ok {
			t.Errorf("a pair without %s", key)
		}
	}
}

func TestTimesInRFC3339AndOutOfOrder(t *testing.T) {
	f := mustRead(t, "\ufefftime, a ,b\n2026-01-02T00:00:20Z,3,\n2026-01-02T01:00:00+01:00,1,NaN\n2026-01-02T00:00:10.000Z,2,-Inf\n")
	want := []float64{1, 2, 3}
	for i, v := range f.Signals[0].Values {
		if v != want[i] {
			t.Errorf("%v", f.Signals[0].Values)
		}
	}
	if f.Signals[0].Name != "a" || !f.Grid.Start.Equal(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)) || f.Grid.Step != 10*time.Second {
		t.Errorf("%+v", f)
	}
	if window.MissingPct(f.Signals[1].Values) != 100 {
		t.Errorf("NaN and infinity are gaps: %v", f.Signals[1].Values)
	}
}

// TestInterleavedSources has two collectors write to one file at their own
// instants.
func TestInterleavedSources(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const n = 400
	x, y := follower(rng, coreProcesses[1], regularly(n), 3)
	var times []string
	var a, b []float64
	for i := range n {
		times = append(times, fmt.Sprint(1700000000+10*i), fmt.Sprint(1700000003+10*i))
		a, b = append(a, x[i], math.NaN()), append(b, math.NaN(), y[i])
	}
	f := mustRead(t, writeCSV(times, []string{"a", "b"}, a, b))
	if f.Grid.Step != 10*time.Second || f.Grid.N > n+1 {
		t.Fatalf("%+v", f.Grid)
	}
	for p := range lagged(t, f, Options{}).All() {
		if p.Verdict != Significant || math.Abs(p.LagSeconds-30) > 10 {
			t.Errorf("%+v", p)
		}
	}
}

func TestLongFilesAreAveraged(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	x := white(rng, 3000)
	f, notes, err := ReadCSV(strings.NewReader(writeCSV(unixTimes(regularly(3000), 1), []string{"a"}, x)), CSVOptions{MaxPoints: 1000})
	if err != nil || f.Grid.N > 1000 || len(notes) != 1 || f.Grid.Step != 4*time.Second {
		t.Fatalf("%+v %q %v", f, notes, err)
	}
	if _, _, err := ReadCSV(strings.NewReader(writeCSV(unixTimes(regularly(3000), 1), []string{"a"}, x)), CSVOptions{MaxPoints: 1000, StepSeconds: 1}); !errors.Is(err, window.ErrGrid) {
		t.Errorf("an asked-for step that does not fit: %v", err)
	}
}

func TestHostileFiles(t *testing.T) {
	wide := "time" + strings.Repeat(",x", maxCSVColumns+1)
	for name, c := range map[string]struct{ text, says string }{
		"nothing":            {"", "empty"},
		"no time":            {"when,a\n1,2\n", `"when"`},
		"time only":          {"time\n1\n", "a pair takes two"},
		"header only":        {"time,a\n", "no row"},
		"two of a name":      {"time,a,b,a\n1,2,3,4\n", `columns 2 and 4 are both called "a"`},
		"no name":            {"time,a,\n1,2,3\n", "column 3 has no name; name it"},
		"long name":          {"time," + strings.Repeat("n", 1000) + "\n1,2\n", "1000 bytes"},
		"too many columns":   {wide + "\n", "columns"},
		"ragged":             {"time,a\n1,2\n3\n", "line 3"},
		"not a number":       {"time,a\n1,2\n2,\x1b[31mred\n", `line 3, column "a": "\x1b[31mred"`},
		"not a time":         {"time,a\nyesterday,2\n", "line 2"},
		"no time in a row":   {"time,a\n,2\n", "line 2: there is no time; leave the row out"},
		"milliseconds":       {"time,a\n1700000000000,2\n", "in seconds: divide by 1000"},
		"microseconds":       {"time,a\n1700000000000000,2\n", "divide by 1000000"},
		"nanoseconds":        {"time,a\n1700000000000000000,2\n", "divide by 1000000000"},
		"no unit at all":     {"time,a\n1e30,2\n", "2223"},
		"NaN time":           {"time,a\nNaN,2\n", `line 2: the time "NaN" is none; leave`},
		"lines of old":       {"time,a\r1,2\r2,3\r", "line feeds"},
		"compressed":         {"\x1f\x8b\x08\x00\x00\x00", "gunzip"},
		"infinite time":      {"time,a\n-Inf,2\n", "line 2"},
		"time before time":   {"time,a\n0001-01-01T00:00:00Z,2\n", "too far"},
		"open quote":         {"time,a\n1,\"2\n", "quote"},
		"one wrong time":     {"time,a\n" + strings.Join(strings.Fields(sequence(100)), "\n") + "\n99000000,1\n", "between lines 101 and 102 are"},
		"an infinite time":   {"time,a\nInf,2\n", `"Inf" is none`},
		"no zone":            {"time,a\n2026-01-02 03:04:05,2\n", "append Z"},
		"too few cells":      {"time,a,b\n1,2,3\n2,3\n", "the header has 3"},
		"decimal comma":      {"time;a\n1;2,5\n", "with a point"},
		"UTF-16":             {"\xff\xfet\x00i\x00", "UTF-8"},
		"bytes of no letter": {"\x00\x01\x02,\xff\n1,2\n", "must be time"},
	} {
		_, _, err := ReadCSV(strings.NewReader(c.text), CSVOptions{})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		} else if !errors.Is(err, ErrCSV) && !errors.Is(err, window.ErrGrid) {
			t.Errorf("%s: %v wraps neither", name, err)
		}
	}
}

// TestFilesOfOtherPrograms have the same table in other clothes.
func TestFilesOfOtherPrograms(t *testing.T) {
	for name, text := range map[string]string{
		"mark and quotes":  "\ufeff\"time\",\"a\"\r\n\"0\",\"1\"\r\n\"60\",\"2\"\r\n",
		"semicolons":       "time;a\n0;1\n60;2\n",
		"quoted semicolon": "\"Time\";\"a\"\n0;1\n60;2\n",
		"tabs":             "time\ta\n0\t1\n60\t2\n",
		"blank in time":    "time,a\n1970-01-01 00:00:00Z,1\n1970-01-01 01:01:00+01:00,2\n",
		"no colon in zone": "time,a\n1970-01-01T02:00:00+0200,1\n1970-01-01 00:01:00 +0000,2\n",
		"blank and zone":   "time,a\n1970-01-01T02:00:00 +02:00,1\n1970-01-01 00:01:00 Z,2\n",
		"small letters":    "time,a\n1970-01-01t00:00:00z,1\n1970-01-01t00:01:00z,2\n",
	} {
		f, _, err := ReadCSV(strings.NewReader(text), CSVOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f.Grid.Step != time.Minute || !f.Grid.Start.Equal(time.Unix(0, 0)) || len(f.Signals) != 1 || f.Signals[0].Name != "a" || !slices.Equal(f.Signals[0].Values, []float64{1, 2}) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// sequence is rows of seconds and values.
func sequence(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,%d\n", i, i*i%7)
	}
	return b.String()
}

// endless never stops giving digits.
type endless struct{ header bool }

func (e *endless) Read(p []byte) (int, error) {
	if !e.header {
		e.header = true
		return copy(p, "time,a\n1,\""), nil
	}
	for i := range p {
		p[i] = '7'
	}
	return len(p), nil
}

func TestEndlessFieldEnds(t *testing.T) {
	if _, err := readTable(&endless{}, 4<<20); !errors.Is(err, ErrCSV) || !strings.Contains(err.Error(), "more than 4 MiB") {
		t.Errorf("%v", err)
	}
}

// TestAnyValuesAreSafe runs the whole engine on values that break arithmetic.
func TestAnyValuesAreSafe(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const n = 200
	odd := map[string]func(i int) float64{
		"huge":       func(int) float64 { return rng.NormFloat64() * 1e300 },
		"tiny":       func(int) float64 { return rng.NormFloat64() * 1e-300 },
		"denormal":   func(int) float64 { return rng.NormFloat64() * 1e-310 },
		"offset":     func(int) float64 { return 1e15 + rng.NormFloat64() },
		"one spike":  func(i int) float64 { return float64(i / (n - 1)) },
		"two values": func(i int) float64 { return float64(i % 2) },
		"period 3":   func(i int) float64 { return float64(i % 3) },
		"line":       func(i int) float64 { return float64(i) },
		"parabola":   func(i int) float64 { return float64(i * i) },
		"sine":       func(i int) float64 { return math.Sin(float64(i) / 3) },
		"infinite":   func(int) float64 { return math.Inf(1 - 2*rng.IntN(2)) },
		"half":       func(i int) float64 { return []float64{rng.Float64(), math.NaN()}[2*i/n] },
		"other half": func(i int) float64 { return []float64{math.NaN(), rng.Float64()}[2*i/n] },
		"noise":      func(int) float64 { return rng.NormFloat64() },
		"max":        func(i int) float64 { return []float64{math.MaxFloat64, -math.MaxFloat64, 0}[rng.IntN(3)] },
		"none":       func(int) float64 { return math.NaN() },
	}
	var columns [][]float64
	for _, name := range slices.Sorted(maps.Keys(odd)) {
		value, c := odd[name], make([]float64, n)
		for i := range c {
			c[i] = value(i)
		}
		columns = append(columns, c, append([]float64(nil), c...))
	}
	f := plainFrame(columns...)
	for _, o := range []Options{{}, {MaxLag: LagZero}, {Method: Pearson}, {Method: Spearman}, {Control: "s0"}} {
		for p := range lagged(t, f, o).All() {
			for _, v := range []float64{p.R, p.Rho, p.P, p.Q, p.NEff, p.LagSeconds} {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%+v", p)
				}
			}
			if p.P < 0 || p.P > 1 || p.Q < p.P*.999 || math.Abs(p.R) > 1.0001 {
				t.Fatalf("%+v", p)
			}
		}
	}
	if _, err := Trends(context.Background(), f, 0); err != nil {
		t.Error(err)
	}
	a, b := windows(f, 50)
	changes, err := Compare(context.Background(), f, a, b, 0)
	if err != nil {
		t.Error(err)
	}
	if _, err := json.Marshal(changes); err != nil {
		t.Error(err)
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("time,a,b\n1,2,3\n2,,4\n4,5,x\n")
	f.Add("time,a\n2026-01-02T03:04:05Z,1\n")
	f.Add("time,a_total\n" + sequence(40))
	f.Fuzz(func(t *testing.T, text string) {
		frame, _, err := ReadCSV(strings.NewReader(text), CSVOptions{MaxPoints: 500})
		if err != nil {
			return
		}
		if frame.Grid.N > 500 {
			t.Fatalf("%d cells", frame.Grid.N)
		}
		a, err := Prepare(context.Background(), frame, Options{Workers: 1, MaxSeries: 20})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Lagged(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}
