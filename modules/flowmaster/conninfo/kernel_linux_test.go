package conninfo

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/procfs"
)

// ioCounts reads what this process has read and how often it has written, by system calls.
func ioCounts(t *testing.T) (octetsRead, writes int64) {
	t.Helper()
	self, err := procfs.Self()
	if err != nil {
		t.Skipf("system calls cannot be counted here: %v", err)
	}
	counts, err := self.IO()
	if err != nil {
		t.Skipf("system calls cannot be counted here: %v", err)
	}
	return int64(counts.RChar), int64(counts.SyscW)
}

// The kernel moves the octets: a file goes out in few and large pieces (sendfile), and what
// goes from one connection into another is not read by this process (splice). A writer that
// hides what it is shows that the counts would tell.
func TestTheKernelMovesTheOctets(t *testing.T) {
	const size = 64 << 20
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	send := func(t *testing.T, from io.Reader, hidden bool) (octetsRead, writes int64) {
		t.Helper()
		x, peer := pair(t)
		c, _ := wrap(x)
		got := make(chan int64)
		go func() {
			n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{peer}, make([]byte, 1<<20))
			got <- n
		}()
		var to io.Writer = c
		if hidden {
			to = struct{ io.Writer }{c}
			from = struct{ io.Reader }{from}
		}
		readBefore, writesBefore := ioCounts(t)
		if n, err := io.Copy(to, from); n != size || err != nil {
			t.Fatalf("sent %d: %v", n, err)
		}
		c.CloseWrite()
		if n := <-got; n != size {
			t.Fatalf("%d octets came", n)
		}
		octetsRead, writes = ioCounts(t)
		return octetsRead - readBefore - size, writes - writesBefore // the receiver has read all
	}
	file := func(t *testing.T) io.Reader {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	connection := func(t *testing.T) io.Reader {
		x, peer := pair(t)
		in, _ := wrap(x)
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer f.Close()
			peer.ReadFrom(f)
			peer.CloseWrite()
		}()
		return in
	}
	const pieces = size / (32 << 10) // what io.Copy makes
	_, writes := send(t, file(t), false)
	_, hidden := send(t, file(t), true)
	t.Logf("a file takes %d writes, hidden %d", writes, hidden)
	if writes > pieces/2 || hidden < pieces {
		t.Errorf("a file takes %d writes, hidden %d: it does not go by sendfile", writes, hidden)
	}
	_, writes = send(t, io.LimitReader(io.LimitReader(file(t), size), size+1), false)
	if writes > pieces/2 {
		t.Errorf("a part of a part of a file takes %d writes: it does not go by sendfile", writes)
	}
	spliced, _ := send(t, connection(t), false)
	copied, _ := send(t, connection(t), true)
	spliced, copied = spliced-size, copied-size // sendfile counts as reading, where the octets come from
	t.Logf("from a connection %d octets are read, hidden %d", spliced, copied)
	if spliced > size/2 || copied < size/2 {
		t.Errorf("from a connection %d octets are read, hidden %d: it does not go by splice", spliced, copied)
	}
}
