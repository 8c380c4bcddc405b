package flowmaster

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// progress shows how far reading has come, as the last line of a terminal. Where there
// is no terminal, or little to read, it shows nothing.
type progress struct {
	out         io.Writer // nil shows nothing
	total, done int64
	started     time.Time
	drawn       time.Time
	visible     bool
	shares      bool // the output goes to a terminal too
}

// progressFrom is from which size on reading takes long enough to be shown.
const progressFrom = 4 << 20

// newProgress shows progress on errs, if that is a terminal.
func newProgress(errs, out io.Writer, total int64) *progress {
	p := &progress{total: total, started: time.Now()}
	if total >= progressFrom && isTerminal(errs) && os.Getenv("TERM") != "dumb" {
		p.out = errs
		p.shares = isTerminal(out)
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// totalSize is how much there is to read as far as that can be told.
func totalSize(names []string) (n int64) {
	for _, name := range names {
		if s, err := os.Stat(name); err == nil && s.Mode().IsRegular() {
			n += s.Size()
		}
	}
	return n
}

// reading returns r, counting what is read from it.
func (p *progress) reading(r io.Reader) io.Reader { return countingReader{r, p} }

type countingReader struct {
	io.Reader
	p *progress
}

// Read implements io.Reader.
func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.p.add(n)
	return n, err
}

// above returns w for text that stands above the bar, if both are on a terminal.
func (p *progress) above(w io.Writer) io.Writer {
	if p.out == nil || w != p.out && !p.shares {
		return w
	}
	return aboveWriter{w, p}
}

type aboveWriter struct {
	io.Writer
	p *progress
}

// Write implements io.Writer.
func (a aboveWriter) Write(b []byte) (int, error) {
	a.p.clear()
	return a.Writer.Write(b)
}

func (p *progress) add(n int) {
	p.done += int64(n)
	if p.out == nil || time.Since(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = time.Now()
	p.visible = true
	fmt.Fprint(p.out, "\r"+p.line(p.drawn.Sub(p.started))+"\x1b[K")
}

// line is the bar, 30 columns wide, with figures behind it.
func (p *progress) line(elapsed time.Duration) string {
	const columns = 30
	share := min(float64(p.done)/float64(max(p.total, 1)), 1)
	full := int(share * columns)
	text := fmt.Sprintf("[%s%s] %3.0f %%  %s of %s", strings.Repeat("#", full), strings.Repeat("-", columns-full),
		share*100, humanize.IBytes(uint64(p.done)), humanize.IBytes(uint64(p.total)))
	if share > 0 && elapsed > time.Second {
		left := time.Duration(float64(elapsed) * (1 - share) / share)
		text += fmt.Sprintf("  %s left", left.Round(time.Second))
	}
	return text
}

// clear takes the bar away.
func (p *progress) clear() {
	if p.visible {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.visible = false
	}
}
