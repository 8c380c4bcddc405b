package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

func backend(t *testing.T) *testbed.Backend {
	t.Helper()
	b, err := testbed.StartBackend(testbed.BackendConfig{Name: "only", Workers: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// fetch asks a proxy once and returns the name of the backend that answered.
func fetch(t *testing.T, url string) string {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return resp.Header.Get(testbed.BackendHeader)
}

func TestLaunchAndStop(t *testing.T) {
	p, path := self(t, "proxy")
	run, err := launch(t.Context(), p, path, []string{backend(t).Addr()})
	if err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, run.url); got != "only" {
		t.Errorf("answered by %q", got)
	}
	if used, ok := run.cpu(); runtime.GOOS == "linux" && (!ok || used < 0) {
		t.Errorf("CPU time %s, %t", used, ok)
	}
	if err := run.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(run.dir); !os.IsNotExist(err) {
		t.Errorf("its directory is left: %v", err)
	}
	if _, err := http.Get(run.url); err == nil {
		t.Error("it answers after its end")
	}
}

func TestLaunchReportsOutput(t *testing.T) {
	p, path := self(t, "exit")
	_, err := launch(t.Context(), p, path, nil)
	if err == nil || !strings.Contains(err.Error(), "no such option") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error is %v", err)
	}
}

// The configurations are good: each daemon that is installed serves with its own.
func TestInstalledProxiesServe(t *testing.T) {
	for _, p := range known {
		if p.program != "nginx" && p.program != "haproxy" {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			path, err := installed(p.program)
			if err != nil {
				t.Skipf("%s is not installed", p.program)
			}
			run, err := launch(t.Context(), p, path, []string{backend(t).Addr()})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := run.stop(); err != nil {
					t.Error(err)
				}
			}()
			if got := fetch(t, run.url); got != "only" {
				t.Errorf("answered by %q", got)
			}
		})
	}
}

func TestCaddyfilesDifferInOneWord(t *testing.T) {
	c := site{dir: "d", listen: "127.0.0.1:1", backends: []string{"a:1", "b:2"}}
	mine, _, _ := ours("x").config(c)
	theirs, _, _ := stock("x").config(c)
	if strings.Replace(mine, "lbpro", "reverse_proxy", 1) != theirs {
		t.Errorf("configurations:\n%s\n%s", mine, theirs)
	}
	if !strings.Contains(mine, "http://127.0.0.1:1 {\n\tlbpro a:1 b:2\n}") {
		t.Errorf("configuration:\n%s", mine)
	}
	if text, _, _ := stock("x", tuned...).config(c); !strings.Contains(text, "a:1 b:2 {\n\t\tlb_policy least_conn\n") {
		t.Errorf("tuned configuration:\n%s", text)
	}
}

func TestProxiesByName(t *testing.T) {
	list, err := proxies([]string{"lbpro/p2c", "nginx-least-conn"})
	if err != nil || len(list) != 2 || !list[0].ours || list[1].ours {
		t.Fatalf("%+v, %v", list, err)
	}
	if text, _, _ := list[0].config(site{}); !strings.Contains(text, "lb_policy p2c") {
		t.Errorf("configuration:\n%s", text)
	}
	for _, bad := range []string{"nosuch", "lbpro/", "lbpro/p2c }"} {
		if _, err := proxies([]string{bad}); err == nil || !strings.Contains(err.Error(), "haproxy-leastconn") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTryMeasuresAProxy(t *testing.T) {
	p, path := self(t, "proxy")
	s, err := testbed.NewScenario("equal-60", testbed.ScenarioOptions{Scale: .05, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.Load.Rate /= 4
	m, err := try(t.Context(), p, path, s)
	if err != nil {
		t.Fatal(err)
	}
	var share float64
	for _, v := range m.Share {
		share += v
	}
	if m.Requests < 200 || m.Success != 1 || len(m.Share) != 5 || math.Abs(share-1) > 1e-9 || m.Attempts != 1 {
		t.Errorf("measures: %+v", m)
	}
	if m.Bound.P50 <= 0 || m.All.P50 < m.Bound.P50 {
		t.Errorf("p50 %g ms, bound %g ms", m.All.P50, m.Bound.P50)
	}
	if m.CPU == nil && runtime.GOOS == "linux" {
		t.Error("no CPU time")
	}
	if m.Stop != nil || m.Return != nil || m.Recovery != nil {
		t.Error("reactions without a fault")
	}
}

func TestThroughput(t *testing.T) {
	_, path := self(t, "proxy")
	var out bytes.Buffer
	programs := map[string]string{"caddy": path, "stock": path}
	err := throughput{rounds: 3, each: 2 * time.Second, connections: 2, body: 10}.run(t.Context(), &out, programs)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("output:\n%s", out.String())
	}
	var ratio float64
	_, after, _ := strings.Cut(lines[3], "throughput ratio ")
	if _, err := fmt.Sscan(strings.TrimSuffix(strings.Fields(after)[0], ","), &ratio); err != nil || ratio <= 0 {
		t.Errorf("no ratio in %q: %v", lines[3], err)
	}
}

func TestThroughputReportsASideThatDoesNotStart(t *testing.T) {
	_, path := self(t, "exit")
	err := throughput{rounds: 1, each: time.Millisecond, connections: 1}.run(t.Context(), io.Discard, map[string]string{"caddy": path, "stock": path})
	if err == nil || !strings.Contains(err.Error(), "lbpro") {
		t.Errorf("error is %v", err)
	}
}

func TestRunRejects(t *testing.T) {
	for want, args := range map[string][]string{
		"no scenario": {"-scenario", "nosuch"},
		"no proxy":    {"-proxies", "nosuch"},
		"scale":       {"-scale", "-1"},
		"repeat":      {"-repeat", "0"},
		"only flags":  {"stray"},
		"not defined": {"-nosuch"},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestListNamesAll(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-list"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range append(testbed.ScenarioNames(), proxyNames()...) {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not listed", want)
		}
	}
}

func TestSaveIsJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	stop := -1.
	if err := (options{json: file}).save([]measures{{Scenario: "s", Proxy: "p", Stop: &stop}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(b, &got); err != nil || got[0]["stop_ms"] != -1. || got[0]["return_ms"] != nil {
		t.Errorf("%s: %v", b, err)
	}
}

func TestProcessStatOfThisProcess(t *testing.T) {
	parent, _, err := processStat(os.Getpid())
	if runtime.GOOS != "linux" {
		t.Skip("no /proc/PID/stat here")
	}
	if err != nil || parent != os.Getppid() {
		t.Errorf("parent %d, want %d: %v", parent, os.Getppid(), err)
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Skip(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	found := false
	for _, id := range children(os.Getpid()) {
		found = found || id == child.Process.Pid
	}
	if !found {
		t.Error("a child is not found")
	}
}

func TestForeignTime(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no /proc/stat here")
	}
	f := watch()
	if all, own, ok := f.used(); !ok || all < own || all == 0 {
		t.Errorf("the machine used %s, this process %s, %t", all, own, ok)
	}
	f.all -= time.Hour // as if others had used an hour
	if f.share() <= 1 {
		t.Errorf("share of others is %g", f.share())
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var o tail
	for range 1000 {
		_, _ = o.Write([]byte("0123456789"))
	}
	_, _ = o.Write([]byte("the end"))
	if s := o.String(); len(s) > 4096 || !strings.HasSuffix(s, "9the end") {
		t.Errorf("%d bytes kept, ending in %q", len(s), s[len(s)-10:])
	}
}
