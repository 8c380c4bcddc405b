package analytics

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progressEvery is how often a progress bar is drawn at most.
const progressEvery = 100 * time.Millisecond

// progressWidth is how many characters the bar itself has.
const progressWidth = 30

// progress draws a bar in one line of a terminal, and nothing elsewhere.
type progress struct {
	out   io.Writer // nil: no terminal
	what  string
	drawn time.Time
	shown bool
}

// newProgress returns the progress bar of a command that writes its messages to w.
func newProgress(w io.Writer) *progress {
	p := &progress{}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.out = w
	}
	return p
}

// say shows what goes on where no end is known.
func (p *progress) say(what string) { p.line(what + " …") }

// phase names what the steps that follow do.
func (p *progress) phase(what string) {
	p.what, p.drawn = what, time.Time{}
}

// step draws the bar: done of total.
func (p *progress) step(done, total int) {
	if p.out == nil || total <= 0 || done < total && time.Since(p.drawn) < progressEvery {
		return
	}
	p.drawn = time.Now()
	full := progressWidth * done / total
	p.line(fmt.Sprintf("%-30s [%s%s] %3d %%", p.what,
		strings.Repeat("=", full), strings.Repeat(" ", progressWidth-full), 100*done/total))
}

func (p *progress) line(text string) {
	if p.out == nil {
		return
	}
	p.shown = true
	// Back to the first column, and clear what is right of the text.
	fmt.Fprintf(p.out, "\r%s\x1b[K", text)
}

// clear takes the line away.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}
