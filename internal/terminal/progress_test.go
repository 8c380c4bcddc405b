package terminal

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// drawing returns a bar that takes out for a terminal.
func drawing(out io.Writer) *Progress {
	p := NewProgress(out)
	p.out = out
	return p
}

func TestProgressIsALineOnATerminal(t *testing.T) {
	var out bytes.Buffer
	p := drawing(&out)
	p.Say("reading the file")
	p.Phase("comparing")
	p.Step(0, 0)
	for i := 1; i <= 300; i++ {
		p.Step(i, 300)
	}
	p.Clear()
	p.Clear()
	drawn := out.String()
	if !strings.HasPrefix(drawn, "\rreading the file …\x1b[K\rcomparing                      [  ") {
		t.Errorf("it begins %q", drawn)
	}
	if !strings.HasSuffix(drawn, "["+strings.Repeat("=", progressWidth)+"] 100 %\x1b[K\r\x1b[K") || strings.Contains(drawn, "\n") {
		t.Errorf("it ends %q", drawn)
	}
}

func TestProgressOfReading(t *testing.T) {
	var out bytes.Buffer
	p := drawing(&out)
	p.ExpectBytes(1 << 20)
	r := p.Reader(strings.NewReader(strings.Repeat("x", 3<<19)))
	read := func(n int) string {
		out.Reset()
		if _, err := io.ReadFull(r, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := read(1 << 19); got != "\r[===============               ]  50 %  512 KiB of 1.0 MiB\x1b[K" {
		t.Errorf("half way: %q", got)
	}
	if got := read(1 << 20); !strings.Contains(got, "] 100 %  1.5 MiB of 1.0 MiB") {
		t.Errorf("more than there was: %q", got)
	}
	out.Reset()
	if _, err := p.Above(&out).Write([]byte("{}\n")); err != nil || out.String() != "\r\x1b[K{}\n" {
		t.Errorf("a line of output: %q, %v", out.String(), err)
	}
	if file := io.Writer(new(bytes.Buffer)); p.Above(file) != file {
		t.Error("what does not go to the terminal takes the bar away")
	}
	if got := p.bar(0.5, 10*time.Second); !strings.HasSuffix(got, " 50 %  1.5 MiB of 1.0 MiB  10s left") {
		t.Errorf("after ten seconds: %q", got)
	}
	p.ExpectBytes(0)
	out.Reset()
	if _, err := io.Copy(io.Discard, p.Reader(strings.NewReader("text"))); err != nil || out.Len() > 0 {
		t.Errorf("without a size: %q, %v", out.String(), err)
	}
}

func TestNoProgressWhereNoTerminalIs(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := NewProgress(file)
	p.Say("reading")
	p.Phase("comparing")
	p.Step(1, 1)
	p.ExpectBytes(1)
	if _, err := io.Copy(p.Above(file), p.Reader(strings.NewReader("text"))); err != nil {
		t.Fatal(err)
	}
	p.Clear()
	if text, err := os.ReadFile(file.Name()); err != nil || string(text) != "text" {
		t.Errorf("the file has %q, %v", text, err)
	}
}
