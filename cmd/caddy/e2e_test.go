package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// build makes the command once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lbpro-e2e")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "caddy")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// process is a Caddy of its own, with its own data directory.
type process struct {
	t                testing.TB
	bin, data        string
	admin, site, api string // addresses
	cmd              *exec.Cmd
	log              strings.Builder
}

func newProcess(t testing.TB) *process {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return &process{t: t, bin: bin, data: t.TempDir(), admin: freeAddr(t), site: freeAddr(t), api: freeAddr(t)}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// config writes a Caddyfile with the global options and what the site does.
func (p *process) config(global, directives string) string {
	p.t.Helper()
	text := fmt.Sprintf("{\n\tadmin %s\n\tauto_https off\n\tpersist_config off\n\tlog {\n\t\tlevel WARN\n\t}\n%s\n}\nhttp://:%s {\n\tbind 127.0.0.1\n%s\n}\nhttp://:%s {\n\tbind 127.0.0.1\n\tanalytics_api\n}\n",
		p.admin, global, port(p.site), directives, port(p.api))
	file := filepath.Join(p.data, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

func (p *process) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.bin, args...)
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+p.data, "XDG_CONFIG_HOME="+p.data, "HOME="+p.data)
	return cmd
}

func (p *process) start(file string) {
	p.t.Helper()
	p.cmd = p.command("run", "--config", file)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd := p.cmd
	p.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if p.t.Failed() {
			p.t.Logf("Caddy says:\n%s", p.log.String())
		}
	})
	until(p.t, "Caddy answers", func() bool { _, err := p.get("/stats", nil); return err == nil })
}

// terminate ends the process as an init system does.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("it ended with %v\n%s", err, p.log.String())
	}
}

// get reads a resource of the API.
func (p *process) get(path string, into any) (int, error) {
	res, err := http.Get("http://" + p.api + "/api" + path)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || into == nil {
		return res.StatusCode, err
	}
	return res.StatusCode, json.Unmarshal(body, into)
}

func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

// status is what the test reads of the engine's status.
type status struct {
	State    string
	Problems []string
	Steps    []struct{ Name, State, Error string }
	Sources  []struct {
		Name        string
		Collections int
	}
	Pipelines []struct {
		Name, State string
		Runs        int
		Series      int
	}
	Store struct {
		Kind    string
		Ok      bool
		Samples int
	}
}

func (p *process) status() (s status) {
	if _, err := p.get("/analytics/status", &s); err != nil {
		return status{}
	}
	return s
}

func (s status) runs(name string) int {
	for _, p := range s.Pipelines {
		if p.Name == name {
			return p.Runs
		}
	}
	return 0
}

func (s status) series(name string) int {
	for _, p := range s.Pipelines {
		if p.Name == name {
			return p.Series
		}
	}
	return 0
}

func (s status) collections(name string) int {
	for _, x := range s.Sources {
		if x.Name == name {
			return x.Collections
		}
	}
	return 0
}

// fault is a fault of the network that comes and goes, and that the backend behind it
// feels later.
type fault struct {
	began  time.Time
	levels []float64 // of each second
}

const faultLag = 3 * time.Second

func newFault() *fault {
	f := &fault{began: time.Now()}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 600 {
		f.levels = append(f.levels, rng.Float64())
	}
	return f
}

func (f *fault) level(at time.Time) float64 {
	return f.levels[max(int(at.Sub(f.began)/time.Second), 0)%len(f.levels)]
}

// serve returns the backend and the exporter that measures the fault.
func (f *fault) serve(t testing.TB) (backend, exporter string) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(2*time.Millisecond + time.Duration(60*f.level(time.Now().Add(-faultLag)))*time.Millisecond)
		fmt.Fprint(w, "ok")
	}))
	e := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# TYPE uplink_fault gauge\nuplink_fault %v\n", f.level(time.Now()))
	}))
	t.Cleanup(b.Close)
	t.Cleanup(e.Close)
	return b.Listener.Addr().String(), e.Listener.Addr().String()
}

// load sends requests to the site until ctx ends.
func (p *process) load(ctx context.Context, wg *sync.WaitGroup) {
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if res, err := http.Get("http://" + p.site + "/"); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

// The whole chain in a process of its own: traffic through the balancer, metrics on
// schedule, a planted fault found on demand, an end that loses nothing, and a balancer
// that answers without all of it.
func TestEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	f := newFault()
	backend, exporter := f.serve(t)
	p := newProcess(t)
	file := p.config(fmt.Sprintf(`	metrics
	flowmaster {
		sweep_interval 1s
	}
	servers {
		listener_wrappers {
			flowmaster
		}
	}
	analytics {
		collect_interval 1s
		analyze_interval 1s
		source scrape uplink %s
		pipeline planted {
			source uplink
			signal fault uplink_fault ratio down
		}
		pipeline balancer {
			signal felt_seconds "histogram_avg(sum by (pool) (rate(caddy_lbpro_backend_first_byte_seconds[2s]))) or sum by (pool) (rate(caddy_lbpro_backend_first_byte_seconds_sum[2s])) / sum by (pool) (rate(caddy_lbpro_backend_first_byte_seconds_count[2s]))" seconds down
		}
	}`, exporter), "\tlbpro "+backend+" {\n\t\tpool app\n\t}")
	p.start(file)
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	began := time.Now()
	p.load(ctx, &clients)
	defer clients.Wait()
	defer cancel()

	until(t, "the engine runs", func() bool { return p.status().State == "running" })
	until(t, "45 collections", func() bool { return p.status().runs("planted") >= 45 })
	s := p.status()
	for _, name := range []string{"balancer", "network", "http", "cross"} {
		if s.runs(name) < 30 || s.series(name) == 0 {
			t.Errorf("pipeline %s has run %d times and has %d series", name, s.runs(name), s.series(name))
		}
	}
	for _, step := range s.Steps {
		if step.State != "done" && step.State != "skipped" {
			t.Errorf("step %s is %s: %s", step.Name, step.State, step.Error)
		}
	}
	if s.State != "running" || s.Store.Kind != "tsdb" || !s.Store.Ok || s.Store.Samples == 0 {
		t.Errorf("status is %+v", s)
	}
	p.readsHost(t)
	p.findsFault(t, began)
	if out, err := p.command("analytics", "check", "--address", p.admin).CombinedOutput(); err != nil {
		t.Errorf("caddy analytics check: %v\n%s", err, out)
	}

	// The end, at whatever moment of a collection it comes.
	collected := p.status().collections("registry")
	p.terminate()
	p.start(file)
	until(t, "the engine runs again", func() bool { return p.status().State == "running" })
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	query := url.QueryEscape(`count_over_time(caddy_lbpro_pool_requests_total[30m])`)
	if _, err := p.get("/v1/query?query="+query, &answer); err != nil || len(answer.Data.Result) != 1 {
		t.Fatalf("%+v: %v", answer, err)
	}
	// Before the first request there is no pool to speak of, so the first collections may lack it.
	kept, err := strconv.Atoi(fmt.Sprint(answer.Data.Result[0].Value[1]))
	if err != nil || kept < collected-3 {
		t.Errorf("%d collections are in the store of %d that there were: %v", kept, collected, err)
	}

	// Without the engine.
	off := p.config("", "\tlbpro "+backend+" {\n\t\tpool app\n\t}")
	if out, err := p.command("reload", "--config", off, "--address", p.admin).CombinedOutput(); err != nil {
		t.Fatalf("reload: %v\n%s", err, out)
	}
	res, err := http.Get("http://" + p.site + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "ok" {
		t.Errorf("the balancer answers %d %q", res.StatusCode, body)
	}
	var stats struct {
		Totals    struct{ Backends int }
		Analytics string
	}
	if code, err := p.get("/stats", &stats); err != nil || code != 200 || stats.Totals.Backends != 1 || stats.Analytics != "unavailable" {
		t.Errorf("stats are %d %+v: %v", code, stats, err)
	}
	cancel()
	clients.Wait()
	p.terminate()
}

// readsHost has the counters of this host as signals.
func (p *process) readsHost(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return // they are read on Linux only
	}
	var answer struct {
		Signals []struct {
			Name   string
			Series []struct{ Value *float64 }
		}
	}
	if code, err := p.get("/analytics/metrics?pipeline=network", &answer); err != nil || code != 200 {
		t.Fatalf("%d: %v", code, err)
	}
	read := 0
	for _, s := range answer.Signals {
		if !strings.HasPrefix(s.Name, "host_") {
			continue
		}
		read++
		if len(s.Series) == 0 || s.Series[0].Value == nil {
			t.Errorf("signal %s has no value: %+v", s.Name, s.Series)
		}
	}
	if read < 10 {
		t.Errorf("%d signals of the host", read)
	}
}

// findsFault has the correlation of the fault with what was felt since then. Where the machine
// has other things to do, a sample a second comes late or not at all, and it takes longer.
func (p *process) findsFault(t *testing.T, since time.Time) {
	t.Helper()
	type answers struct {
		Pairs []struct {
			X, Y       string
			LagSeconds float64 `json:"lag_seconds"`
			R, Q       float64
		}
	}
	var answer answers
	q := url.Values{"series": {"planted:fault", "balancer:felt_seconds"}, "max_lag": {"8s"}, "step": {"1s"}, "from": {strconv.FormatInt(since.Unix(), 10)}, "all": {"1"}}
	until(t, "the correlation is significant", func() bool {
		answer = answers{}
		if code, err := p.get("/analytics/correlation?"+q.Encode(), &answer); err != nil || code != 200 || len(answer.Pairs) != 1 {
			t.Fatalf("%d %+v: %v", code, answer, err)
		}
		return answer.Pairs[0].Q < .05
	})
	x := answer.Pairs[0]
	lag := x.LagSeconds
	if strings.HasPrefix(x.X, "balancer") {
		lag = -lag
	}
	// Requests are counted when they end, and a rate is of the second before.
	if lag < faultLag.Seconds()-1 || lag > faultLag.Seconds()+2 || x.R <= 0 {
		t.Errorf("the fault was found as %+v, want a positive correlation %v later", x, faultLag)
	}
}
