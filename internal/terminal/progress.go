package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	// progressEvery is how often a bar is drawn at most.
	progressEvery = 100 * time.Millisecond
	// progressWidth is how many characters the bar itself has.
	progressWidth = 30
	// progressGuess is from when on it is worth guessing how long the rest takes.
	progressGuess = time.Second
)

// Progress is a bar in the last line of a terminal, and nothing elsewhere. One goroutine
// uses it.
type Progress struct {
	out   io.Writer // nil: no terminal
	what  string
	began time.Time // of what
	drawn time.Time
	shown bool

	read, size int64
}

// NewProgress returns the bar of a command that writes its messages to w.
func NewProgress(w io.Writer) *Progress {
	p := new(Progress)
	if Is(w) && os.Getenv("TERM") != "dumb" {
		p.out = w
	}
	return p
}

// Say shows what goes on where no end is known.
func (p *Progress) Say(what string) { p.line(what + " …") }

// Phase names what the steps that follow do.
func (p *Progress) Phase(what string) {
	*p = Progress{out: p.out, shown: p.shown, what: fmt.Sprintf("%-30s ", what), began: time.Now()}
}

// Step draws the bar: done of total.
func (p *Progress) Step(done, total int) { p.step(int64(done), int64(total)) }

// ExpectBytes begins a phase of reading so many octets through Reader. With 0 it shows
// nothing.
func (p *Progress) ExpectBytes(size int64) {
	*p = Progress{out: p.out, shown: p.shown, began: time.Now(), size: size}
}

// Reader returns r, counting what is read from it.
func (p *Progress) Reader(r io.Reader) io.Reader { return countingReader{r, p} }

type countingReader struct {
	io.Reader
	p *Progress
}

// Read implements io.Reader.
func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	p := c.p
	if before := p.read; before < p.size { // what is read beyond has no share
		p.read += int64(n)
		p.step(min(p.read, p.size), p.size)
	}
	return n, err
}

// Above returns w for text that stands above the bar, if both are on a terminal.
func (p *Progress) Above(w io.Writer) io.Writer {
	if p.out == nil || w != p.out && !Is(w) {
		return w
	}
	return aboveWriter{w, p}
}

type aboveWriter struct {
	io.Writer
	p *Progress
}

// Write implements io.Writer.
func (a aboveWriter) Write(b []byte) (int, error) {
	a.p.Clear()
	return a.Writer.Write(b)
}

func (p *Progress) step(done, total int64) {
	now := time.Now()
	if p.out == nil || total <= 0 || done < total && now.Sub(p.drawn) < progressEvery {
		return
	}
	p.drawn = now
	p.line(p.bar(float64(done)/float64(total), now.Sub(p.began)))
}

// bar is the line for a share that took so long.
func (p *Progress) bar(share float64, elapsed time.Duration) string {
	full := int(share * progressWidth)
	text := fmt.Sprintf("%s[%s%s] %3d %%", p.what, strings.Repeat("=", full), strings.Repeat(" ", progressWidth-full), int(share*100))
	if p.size > 0 {
		text += "  " + humanize.IBytes(uint64(p.read)) + " of " + humanize.IBytes(uint64(p.size))
	}
	if share > 0 && share < 1 && elapsed > progressGuess {
		left := time.Duration(float64(elapsed) * (1 - share) / share)
		text += fmt.Sprintf("  %s left", left.Round(time.Second))
	}
	return text
}

func (p *Progress) line(text string) {
	if p.out == nil {
		return
	}
	p.shown = true
	// Back to the first column, and clear what is right of the text.
	fmt.Fprintf(p.out, "\r%s\x1b[K", text)
}

// Clear takes the line away.
func (p *Progress) Clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}
