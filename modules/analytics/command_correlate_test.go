package analytics

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
)

// runCommand runs `caddy analytics` with the arguments and returns what it printed.
func runCommand(ctx context.Context, in string, args ...string) (out, messages string, err error) {
	root := &cobra.Command{Use: "analytics", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(correlateCommand())
	var stdout, stderr bytes.Buffer
	root.SetIn(strings.NewReader(in))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(args)
	err = root.ExecuteContext(ctx)
	return stdout.String(), stderr.String(), err
}

// measurements are what a site might have measured: traffic with a season, latency
// that follows it lag steps later, retransmissions that latency follows, something
// unrelated, and a column that stands still. One cell in ten is empty.
func measurements(seed uint64, n, lag int, at func(i int) string) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	ar := func(phi float64) []float64 {
		x, v := make([]float64, n+lag), 0.0
		for i := range x {
			v = phi*v + rng.NormFloat64()
			x[i] = v
		}
		return x
	}
	traffic, retransmits, other := ar(.7), ar(.5), ar(.9)
	var b strings.Builder
	b.WriteString("time,requests,latency,retransmits,other thing,flat\n")
	for i := range n {
		season := 6 * math.Sin(2*math.Pi*float64(i)/60)
		values := []float64{
			200 + 10*(traffic[lag+i]+season), .05 - .004*(traffic[i]+season) + .004*retransmits[lag+i] + .002*rng.NormFloat64(),
			1 + retransmits[lag+i], other[i] + season, 7,
		}
		b.WriteString(at(i))
		for _, v := range values {
			b.WriteByte(',')
			if rng.IntN(10) > 0 {
				fmt.Fprintf(&b, "%.6g", v)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func unixSeconds(i int) string { return fmt.Sprint(1772323200 + 15*i) }

func rfc3339(i int) string {
	return time.Unix(1772323200, 0).Add(time.Duration(i) * 15 * time.Second).In(time.FixedZone("", 3600)).Format(time.RFC3339Nano)
}

// line is a pair as printed.
type line struct {
	x, y                       string
	lag, r, rho, p, q, n, nEff float64
}

func parseLines(t *testing.T, out string) []line {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(out), "\n")
	if rows[0] != correlate.Header {
		t.Fatalf("the first line is %q", rows[0])
	}
	var lines []line
	for _, row := range rows[1:] {
		row = strings.ReplaceAll(row, `"other thing"`, "other")
		var l line
		if n, err := fmt.Sscan(row, &l.x, &l.y, &l.lag, &l.r, &l.rho, &l.p, &l.q, &l.n, &l.nEff); n != 9 || err != nil {
			t.Fatalf("%q: %v", row, err)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestCorrelateCommandFindsPlantedLags(t *testing.T) {
	const lag = 4 // of 15 s
	for name, at := range map[string]func(int) string{"unix": unixSeconds, "rfc3339": rfc3339} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "m.csv")
			if err := os.WriteFile(file, []byte(measurements(3, 800, lag, at)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, messages, err := runCommand(t.Context(), "", "correlate", file)
			if err != nil {
				t.Fatal(err)
			}
			lines := parseLines(t, out)
			if len(lines) != 2 {
				t.Fatalf("%d pairs, want requests with latency and latency with retransmits:\n%s", len(lines), out)
			}
			for _, l := range lines {
				wantLag, sign := 0.0, 1.0
				if l.x == "requests" {
					wantLag, sign = 15*lag, -1
				}
				if l.x == "other" || l.y == "other" || math.Abs(l.lag-wantLag) > 15 || sign*l.r < .2 || sign*l.rho < .2 || l.q > .05 || l.n < 500 || l.nEff > l.n {
					t.Errorf("%+v", l)
				}
			}
			if !strings.Contains(messages, `"flat" left out: constant`) || !strings.Contains(messages, "2 of 6 pairs are significant") {
				t.Errorf("messages: %s", messages)
			}
		})
	}
}

func TestCorrelateCommandTargetIsY(t *testing.T) {
	text := measurements(5, 800, 4, unixSeconds)
	out, _, err := runCommand(t.Context(), text, "correlate", "-", "--target", "requests", "--all")
	if err != nil {
		t.Fatal(err)
	}
	lines := parseLines(t, out)
	if len(lines) != 4 || lines[0].x != "latency" || lines[0].y != "requests" || lines[0].lag > -45 || lines[0].lag < -75 {
		t.Fatalf("requests come before latency, so latency → requests has a negative lag:\n%s", out)
	}
	// The last has no data that varies: NaN, and how many samples it has.
	if last := lines[3]; last.x != "flat" || last.r == last.r {
		t.Errorf("%+v", last)
	}
	// Beyond the largest lag there is nothing to see.
	out, messages, err := runCommand(t.Context(), text, "correlate", "-", "--target", "requests", "--max-lag", "0")
	if err != nil || len(parseLines(t, out)) != 0 || !strings.Contains(messages, "none of 3 pairs") {
		t.Errorf("%v %s %s", err, out, messages)
	}
	// With traffic taken out, latency is still associated with retransmissions, and not with traffic.
	out, _, err = runCommand(t.Context(), text, "correlate", "-", "--target", "latency", "--control", "requests", "--no-header")
	if err != nil || !strings.HasPrefix(out, "retransmits latency ") || strings.Count(out, "\n") != 1 {
		t.Errorf("%v %s", err, out)
	}
}

func TestCorrelateCommandJSON(t *testing.T) {
	out, _, err := runCommand(t.Context(), measurements(8, 600, 4, rfc3339), "correlate", "-", "--json", "--all")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Summary correlate.Summary `json:"summary"`
		Pairs   []correlate.Pair  `json:"pairs"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if s := got.Summary; s.Series != 5 || s.Pairs != 10 || s.Tests != 6 || s.Significant != 2 || s.Window.StepSeconds != 15 || len(got.Pairs) != 10 {
		t.Errorf("%+v, %d pairs", s, len(got.Pairs))
	}
	for _, p := range got.Pairs {
		if p.Method == "" || p.Window.From.IsZero() || p.MissingPct <= 0 || p.Caveats == nil {
			t.Errorf("%+v", p)
		}
	}
}

func TestCorrelateCommandRefuses(t *testing.T) {
	good := measurements(9, 60, 2, unixSeconds)
	for name, c := range map[string]struct {
		in, want string
		args     []string
	}{
		"no file":         {"", "reading the measurements", []string{filepath.Join(t.TempDir(), "none.csv")}},
		"a directory":     {"", "unusable CSV", []string{t.TempDir()}},
		"empty":           {"", "it is empty", []string{"-"}},
		"no time":         {"a,b\n1,2\n", "must be time", []string{"-"}},
		"no column":       {"time\n1\n", "no column beside time", []string{"-"}},
		"ragged":          {"time,a\n1,2\n2,3,4\n", "wrong number of fields", []string{"-"}},
		"no number":       {"time,a\n1,2\n2,\x1b[2Jx\n", `"\x1b[2Jx" is not a number`, []string{"-"}},
		"milliseconds":    {"time,a\n1772323200000,2\n", "in seconds", []string{"-"}},
		"twice":           {"time,a,a\n1,2,3\n", "both called", []string{"-"}},
		"no such target":  {good, `no column is called "nothing"`, []string{"-", "--target", "nothing"}},
		"no such control": {good, `no column is called "nothing"`, []string{"-", "--control", "nothing"}},
		"negative lag":    {good, "--max-lag -3", []string{"-", "--max-lag=-3"}},
		"level":           {good, "--level 7", []string{"-", "--level", "7"}},
		"method":          {good, "--method", []string{"-", "--method", "kendall"}},
		"step":            {good, "step", []string{"-", "--step", "-1"}},
		"two files":       {good, "accepts 1 arg", []string{"-", "-"}},
	} {
		out, _, err := runCommand(t.Context(), c.in, append([]string{"correlate"}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\x1b") || out != "" {
			t.Errorf("%s: %v, want %q; printed %q", name, err, c.want, out)
		}
	}
}

func TestCorrelateCommandSaysWhereDataIsShort(t *testing.T) {
	out, messages, err := runCommand(t.Context(), measurements(9, 20, 2, unixSeconds), "correlate", "-")
	if err != nil || len(parseLines(t, out)) != 0 || !strings.Contains(messages, "not enough data: none of 10 pairs") {
		t.Errorf("%v\n%s%s", err, out, messages)
	}
	if _, messages, err := runCommand(t.Context(), "time,a\n1,2\n2,3\n", "correlate", "-"); err != nil || !strings.Contains(messages, "a pair takes two columns") {
		t.Errorf("%v\n%s", err, messages)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := runCommand(ctx, measurements(9, 100, 2, unixSeconds), "correlate", "-"); err == nil {
		t.Error("goes on after it was cancelled")
	}
}

// TestCorrelateRefusesInItsOwnWords names the option, and the way out.
func TestCorrelateRefusesInItsOwnWords(t *testing.T) {
	in := measurements(1, 60, 3, unixSeconds)
	for _, c := range []struct{ option, value, says string }{
		{"--max-lag", "-1", "--max-lag -1: a number of steps, 0 to"},
		{"--max-lag", "1000000", "--max-lag 1000000"},
		{"--max-series", "1", "--max-series 1: a number of columns, 2 to"},
		{"--level", "2", "--level 2: a share between 0 and 1"},
		{"--step", "-5", "--step -5: seconds above 0"},
		{"--step", "nan", "--step NaN"},
		{"--target", "nothing", `--target: no column is called "nothing"; there are "requests", "latency"`},
		{"--control", "time", `--control: no column is called "time"`},
	} {
		if _, _, err := runCommand(t.Context(), in, "correlate", "-", c.option, c.value); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v, want it to say %q", c.option, c.value, err, c.says)
		}
	}
	if _, messages, err := runCommand(t.Context(), in, "correlate", "-", "--max-lag", "50"); err != nil || !strings.Contains(messages, "lags up to 30 steps were searched, half of the 60") {
		t.Errorf("a lag beyond half of the rows: %q %v", messages, err)
	}
}
