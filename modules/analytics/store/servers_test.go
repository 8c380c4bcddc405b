package store_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// server is one that can be killed and started again over the same data.
type server struct {
	t       *testing.T
	address string
	health  string
	name    string
	args    []string
	cmd     *exec.Cmd
	log     bytes.Buffer
	// end is how it dies. One that answers for samples before they are on its disk is asked
	// to; what it loses otherwise was not ours to keep.
	end os.Signal
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.name, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, s.name+" is ready", func() bool {
		resp, err := http.Get("http://" + s.address + s.health)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (s *server) die() {
	_ = s.cmd.Process.Signal(s.end)
	_ = s.cmd.Wait()
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if s.t.Failed() {
		b := s.log.Bytes()
		s.t.Logf("%s: %s", s.name, b[max(0, len(b)-2000):])
	}
}

func get(t *testing.T, url string) {
	t.Helper()
	resp, err := http.Get("http://" + url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, resp.Status)
	}
}

func prometheusServer(t *testing.T) *server {
	name, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no prometheus on this machine: install it to run this test")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("storage:\n  tsdb:\n    out_of_order_time_window: 1h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freePort(t)
	return &server{t: t, address: address, health: "/-/ready", name: name, end: os.Kill, args: []string{
		"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
		"--web.enable-remote-write-receiver", "--enable-feature=native-histograms", "--log.level=error",
	}}
}

func victoriaServer(t *testing.T) *server {
	name := os.Getenv("VICTORIA_METRICS")
	if name == "" {
		var err error
		if name, err = exec.LookPath("victoria-metrics"); err != nil {
			t.Skip("no victoria-metrics: build it with `CGO_ENABLED=0 go install github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@v1.151.0` " +
				"and put it on the path or in $VICTORIA_METRICS")
		}
	}
	address := freePort(t)
	return &server{t: t, address: address, health: "/health", name: name, end: syscall.SIGTERM, args: []string{
		"-storageDataPath=" + t.TempDir(), "-httpListenAddr=" + address, "-search.latencyOffset=0s", "-dedup.minScrapeInterval=1ms",
		"-retentionPeriod=1d", "-loggerLevel=ERROR", fmt.Sprint("-memory.allowedBytes=", 64<<20),
	}}
}
