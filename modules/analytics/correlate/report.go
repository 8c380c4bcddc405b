package correlate

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"unicode"
)

// Header is the line of column names that [WriteText] writes.
const Header = "x y lag_seconds r rho p q n n_eff"

// WriteText writes a line for each pair, columns as in [Header], which comes
// first if header is set. Names with blanks or control characters are quoted. A
// pair without enough data has NaN for all that is not known of it.
func WriteText(w io.Writer, pairs iter.Seq[Pair], header bool) error {
	b := bufio.NewWriter(w)
	if header {
		fmt.Fprintln(b, Header)
	}
	for p := range pairs {
		if p.Verdict == NotEnoughData {
			fmt.Fprintf(b, "%s %s NaN NaN NaN NaN NaN %d NaN\n", word(p.X), word(p.Y), p.N)
			continue
		}
		fmt.Fprintf(b, "%s %s %s %.3f %.3f %.3g %.3g %d %.0f\n", word(p.X), word(p.Y),
			strconv.FormatFloat(p.LagSeconds, 'g', 9, 64), p.R, p.Rho, p.P, p.Q, p.N, p.NEff)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("writing pairs: %w", err)
	}
	return nil
}

// word returns name as one word that is safe on a terminal.
func word(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '"' || r == unicode.ReplacementChar
	}) {
		return strconv.Quote(name)
	}
	return name
}

// Summary is what a result says as a whole.
type Summary struct {
	Window      Span      `json:"window"`
	Series      int       `json:"series"`
	Pairs       int       `json:"pairs"`
	Tests       int       `json:"tests"`
	Significant int       `json:"significant"`
	Level       float64   `json:"level"`
	MaxLag      float64   `json:"max_lag_seconds"`
	LeftOut     []LeftOut `json:"left_out"`
	Notes       []string  `json:"notes"`
}

// Summary returns what the result says as a whole, with notes appended to it.
func (r *Result) Summary(notes ...string) Summary {
	return Summary{
		Window: r.Window(), Series: len(r.a.series), Pairs: len(r.records), Tests: r.tests, Significant: r.found,
		Level: r.a.opts.Level, MaxLag: float64(r.a.opts.MaxLag) * r.a.grid.Step.Seconds(),
		LeftOut: append([]LeftOut{}, r.LeftOut()...), Notes: append(append([]string{}, r.a.caveats...), notes...),
	}
}

// WriteJSON writes {"summary": …, "pairs": […]}, a line for each pair, without
// holding them all in memory.
func WriteJSON(w io.Writer, s Summary, pairs iter.Seq[Pair]) error {
	b := bufio.NewWriter(w)
	head, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	fmt.Fprintf(b, "{\"summary\":%s,\n\"pairs\":[", head)
	separator := "\n"
	for p := range pairs {
		line, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("writing %q and %q: %w", p.X, p.Y, err)
		}
		b.WriteString(separator)
		b.Write(line)
		separator = ",\n"
	}
	b.WriteString("\n]}\n")
	if err := b.Flush(); err != nil {
		return fmt.Errorf("writing pairs: %w", err)
	}
	return nil
}
