package argument

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// take has f take the values in a line of a Caddyfile.
func take[T any](line string, f func(*caddyfile.Dispenser, *T) error) (v T, err error) {
	d := caddyfile.NewTestDispenser(line)
	d.Next()
	err = f(d, &v)
	return v, err
}

func TestValues(t *testing.T) {
	check := func(line string, got, want any, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", line, got, err, want)
		}
	}
	for line, want := range map[string]int{"n 1": 1, "n 1_000_000": 1e6, "n 2147483647": 1<<31 - 1} {
		got, err := take(line, Count)
		check(line, got, want, err)
	}
	for line, want := range map[string]int{"n 0": 0, "n 7": 7} {
		got, err := take(line, CountFrom0)
		check(line, got, want, err)
	}
	for line, want := range map[string]float64{"x 0.25": 0.25, "x 1e9": 1e9} {
		got, err := take(line, Number)
		check(line, got, want, err)
		got, err = take(line, NumberFrom0)
		check(line, got, want, err)
	}
	for line, want := range map[string]time.Duration{"t 500ms": 500 * time.Millisecond, "t 1d": 24 * time.Hour} {
		got, err := take(line, Duration)
		check(line, time.Duration(got), want, err)
		got, err = take(line, DurationFrom0)
		check(line, time.Duration(got), want, err)
	}
	for line, want := range map[string]int64{"s 64KiB": 64 << 10, "s 12": 12} {
		got, err := take(line, Size)
		check(line, got, want, err)
		got, err = take(line, SizeFrom0)
		check(line, got, want, err)
	}
	var first, second caddy.Duration
	d := caddyfile.NewTestDispenser("t 1s 2s")
	d.Next()
	if err := DurationsFrom0(d, &first, &second); err != nil || first != caddy.Duration(time.Second) || second != 2*first {
		t.Errorf("two durations: %v, %v, %v", first, second, err)
	}
}

func TestErrorsSayWhatCanStandThere(t *testing.T) {
	refuse := func(want string, lines []string, f func(line string) (any, error)) {
		t.Helper()
		for _, line := range lines {
			got, err := f(line)
			name, value, _ := strings.Cut(line, " ")
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s is %q: it must be %s", name, value, want)) {
				t.Errorf("%s: error is %v, want %q", line, err, want)
			}
			if s := fmt.Sprint(got); s != "0" && s != "0s" {
				t.Errorf("%s: it is refused, and sets %v", line, got)
			}
		}
		for _, line := range []string{"name", "name 1 2"} {
			if _, err := f(line); err == nil || !strings.Contains(err.Error(), "wrong argument count") {
				t.Errorf("%s: error is %v", line, err)
			}
		}
	}
	refuse("a whole number above 0", []string{"n 0", "n -1", "n many", "n 1.5", "n 2147483648", "n 99999999999999999999"},
		func(l string) (any, error) { return take(l, Count) })
	refuse("a whole number from 0", []string{"n -1", "n many", "n 2147483648"}, func(l string) (any, error) { return take(l, CountFrom0) })
	refuse("a number above 0", []string{"x 0", "x -1", "x many", "x NaN", "x Inf", "x 1e10"}, func(l string) (any, error) { return take(l, Number) })
	refuse("a number from 0", []string{"x -1", "x many", "x NaN", "x Inf"}, func(l string) (any, error) { return take(l, NumberFrom0) })
	refuse("a duration above 0", []string{"t 0s", "t -1s", "t 5", "t soon"}, func(l string) (any, error) { return take(l, Duration) })
	refuse("a duration such as", []string{"t -1s", "t 5", "t soon"}, func(l string) (any, error) { return take(l, DurationFrom0) })
	refuse("a size above 0", []string{"s 0", "s -1", "s big", "s 8EiB"}, func(l string) (any, error) { return take(l, Size) })
	refuse("a size such as", []string{"s -1", "s big", "s 2EiB"}, func(l string) (any, error) { return take(l, SizeFrom0) })

	var first, second caddy.Duration
	for line, want := range map[string]string{"t": "wrong argument count", "t 1s 2s 3s": "wrong argument count", "t 1s soon": `t is "soon"`} {
		d := caddyfile.NewTestDispenser(line)
		d.Next()
		if err := DurationsFrom0(d, &first, &second); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", line, err, want)
		}
	}
	if _, err := take("a", func(d *caddyfile.Dispenser, to *string) error { return Texts(d, to) }); err == nil {
		t.Error("a text that is not there was taken")
	}
}
