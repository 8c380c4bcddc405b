package flowmaster

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/procfs"
)

// A plain file goes out by sendfile: in fewer pieces than those that the process copies.
// Without the wrapper this Caddy copies it, for it limits a limited reader.
func TestFilesGoOutBySendfile(t *testing.T) {
	const size, pieces = 32 << 20, 32 << 20 / (32 << 10)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	writes := func() int {
		self, err := procfs.Self()
		if err != nil {
			t.Skipf("system calls cannot be counted here: %v", err)
		}
		counts, err := self.IO()
		if err != nil {
			t.Skipf("system calls cannot be counted here: %v", err)
		}
		return int(counts.SyscW)
	}
	took := func(measured bool) int {
		addr := freeAddr(t)
		site := proxySite(addr, "http", fmt.Sprintf("root * %s\n\tfile_server", dir))
		// With h2c: else Caddy itself puts a connection around each that knows no ReadFrom.
		site = strings.Replace(site, "protocols h1 h2", "protocols h1 h2c", 1)
		if !measured {
			site = strings.Replace(site, "\t\tlistener_wrappers {\n\t\t\tflowmaster web\n\t\t\ttls\n\t\t}\n", "", 1)
		}
		startCaddy(t, site)
		defer caddy.Stop()
		hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ReadBufferSize: 1 << 20}, Timeout: patience}
		before := writes()
		res, err := hc.Get("http://" + addr + "/f")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
			t.Fatalf("%d octets came: %v", n, err)
		}
		return writes() - before
	}
	with, without := took(true), took(false)
	t.Logf("the file takes %d writes with the wrapper, %d without", with, without)
	if with > pieces*3/4 {
		t.Errorf("the file takes %d writes with the wrapper, %d without; copied it takes %d", with, without, pieces)
	}
}
