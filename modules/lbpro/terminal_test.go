package lbpro

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestTableAlignsItsColumns(t *testing.T) {
	got := table{
		{left("NAME"), right("N"), left("WHY")},
		{left("a"), right("1,000"), left("")},
		{left("longer"), right("2"), left("because")},
	}.lines(false, 0)
	want := []string{
		"NAME        N  WHY",
		"a       1,000",
		"longer      2  because",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTableIsCutToTheTerminal(t *testing.T) {
	rows := table{{styled("name", red), left(strings.Repeat("ü", 50))}}
	for width := 1; width < 70; width++ {
		if n := utf8.RuneCountInString(rows.lines(false, width)[0]); n > width {
			t.Fatalf("a line for %d columns has %d", width, n)
		}
	}
	if l := rows.lines(true, 10)[0]; !strings.Contains(l, "\x1b[31m") || !strings.Contains(l, "\x1b[0m") || !strings.Contains(l, "…") {
		t.Errorf("colour or the sign of the cut is missing: %q", l)
	}
}

// What a terminal shows comes from configurations, backends and the network: it must not
// be able to do anything there.
func TestTerminalGetsNoControlCharacters(t *testing.T) {
	hostile := "a\x1b[2J\x07\r\nb\u202ec\xff"
	for _, line := range (table{{left(hostile), styled(hostile, red)}}).lines(false, 0) {
		if strings.ContainsAny(line, "\x1b\r\n") {
			t.Errorf("a table let through %q", line)
		}
	}
}

func TestScreenGivesTheTerminalBack(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, fd: -1, live: true}
	s.open()
	s.draw(make([]string, 100))
	s.close()
	text := out.String()
	for _, pair := range [][2]string{{"\x1b[?1049h", "\x1b[?1049l"}, {"\x1b[?25l", "\x1b[?25h"}} {
		on, off := strings.LastIndex(text, pair[0]), strings.LastIndex(text, pair[1])
		if on < 0 || off < on {
			t.Errorf("%q is not undone by %q in %q", pair[0], pair[1], text)
		}
	}
	if n := strings.Count(text, "\r\n"); n != 23 {
		t.Errorf("a frame of 100 lines was drawn in %d, a terminal of unknown size has 24", n+1)
	}
	out.Reset()
	s = newScreen(&out)
	s.open()
	s.draw([]string{"plain"})
	s.close()
	if out.String() != "plain\n" {
		t.Errorf("what is no terminal got %q", out.String())
	}
}

func TestHumanNumbers(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "–", 250 * time.Microsecond: "250 µs", 1500 * time.Microsecond: "1.5 ms", 42 * time.Millisecond: "42 ms",
		2500 * time.Millisecond: "2.5 s", 75 * time.Second: "75 s", 10 * time.Minute: "10 min", 5 * time.Hour: "5 h", 72 * time.Hour: "3 d",
	} {
		if got := human(d); got != want {
			t.Errorf("human(%v) = %q, want %q", d, got, want)
		}
	}
	for x, want := range map[float64]string{
		0: "0 %", 1: "100 %", 0.99999: "99.99 %", 0.9951: "99.51 %", 0.5: "50 %", 0.123456: "12.3 %", 0.0000001: "0.01 %",
	} {
		if got := percent(x); got != want {
			t.Errorf("percent(%v) = %q, want %q", x, got, want)
		}
	}
}
