package lbpro

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/caddy-lbpro/caddy-lbpro/internal/terminal"
)

// style is a colour or weight of text on a terminal, as an SGR parameter.
type style string

const (
	unstyled style = ""
	bold     style = "1"
	dim      style = "2"
	red      style = "31"
	green    style = "32"
	yellow   style = "33"
	cyan     style = "36"
)

// cell is one cell of a table.
type cell struct {
	text  string
	style style
	right bool // aligned to the right
}

func left(text string) cell             { return cell{text: text} }
func right(text string) cell            { return cell{text: text, right: true} }
func styled(text string, s style) cell  { return cell{text: text, style: s} }
func styledR(text string, s style) cell { return cell{text, s, true} }

// table lays out rows of cells in columns.
type table [][]cell

// lines returns the rows, with columns aligned and two blanks between them. With width
// above 0 rows are cut to that many columns.
func (t table) lines(color bool, width int) []string {
	var widths []int
	for _, row := range t {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(terminal.Printable(c.text)))
		}
	}
	lines := make([]string, len(t))
	for k, row := range t {
		var s strings.Builder
		used := 0
		for i, c := range row {
			text := terminal.Printable(c.text)
			blanks := widths[i] - utf8.RuneCountInString(text)
			switch {
			case c.right:
				text = strings.Repeat(" ", blanks) + text
			case i < len(row)-1:
				text += strings.Repeat(" ", blanks)
			}
			if i > 0 {
				text = "  " + text
			}
			if width > 0 {
				text = cut(text, width-used)
			}
			used += utf8.RuneCountInString(text)
			if color && c.style != unstyled {
				text = "\x1b[" + string(c.style) + "m" + text + "\x1b[0m"
			}
			s.WriteString(text)
		}
		lines[k] = s.String()
		if !color {
			lines[k] = strings.TrimRight(lines[k], " ")
		}
	}
	return lines
}

// cut shortens text to width columns.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width <= 1 {
		return string([]rune(text)[:max(width, 0)])
	}
	return string([]rune(text)[:width-1]) + "…"
}

// screen is where something live is shown: a terminal, redrawn in place, or any other
// writer, which gets plain text.
type screen struct {
	out   io.Writer
	fd    int
	live  bool
	color bool
}

// newScreen looks at what out is. A terminal gets colours unless NO_COLOR is set.
func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok {
		s.fd = int(f.Fd())
		s.live = term.IsTerminal(s.fd) && os.Getenv("TERM") != "dumb"
		s.color = s.live && os.Getenv("NO_COLOR") == ""
	}
	return s
}

// open takes over a terminal: the alternate screen, without cursor.
func (s *screen) open() {
	if s.live {
		fmt.Fprint(s.out, "\x1b[?1049h\x1b[?25l\x1b[2J")
	}
}

// close gives the terminal back as it was.
func (s *screen) close() {
	if s.live {
		fmt.Fprint(s.out, "\x1b[?25h\x1b[?1049l")
	}
}

// size returns columns and rows of a terminal, 0 and 0 of anything else.
func (s *screen) size() (width, height int) {
	if !s.live {
		return 0, 0
	}
	w, h, err := term.GetSize(s.fd)
	if err != nil || w <= 0 || h <= 0 {
		return 80, 24
	}
	return w, h
}

// draw shows the lines in place of those before; other writers get them one after the
// other.
func (s *screen) draw(lines []string) {
	var b strings.Builder
	if !s.live {
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
		fmt.Fprint(s.out, b.String())
		return
	}
	if _, h := s.size(); len(lines) > h {
		lines = lines[:h]
	}
	b.WriteString("\x1b[H")
	for i, l := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(l + "\x1b[0m\x1b[K")
	}
	b.WriteString("\x1b[J")
	fmt.Fprint(s.out, b.String())
}

// print shows lines for good, below what was there.
func (s *screen) print(lines []string) { fmt.Fprintln(s.out, strings.Join(lines, "\n")) }

// human prints a duration for people, in three digits or less.
func human(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f d", d.Hours()/24)
}

// percent prints a share without ever rounding a part to nothing or to the whole.
func percent(x float64) string {
	p := 100 * x
	switch {
	case x <= 0:
		return "0 %"
	case x >= 1:
		return "100 %"
	case p >= 99:
		return fmt.Sprintf("%.2f %%", math.Floor(p*100)/100)
	case p < 0.01:
		return "0.01 %"
	}
	return fmt.Sprintf("%.3g %%", p)
}
