package lbpro

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// withOption is config with the option `lbpro` among the global ones.
func withOption(addr, option, directives string) string {
	return strings.Replace(config(addr, directives), "{\n", "{\n\tlbpro {\n\t\t"+option+"\n\t}\n", 1)
}

// What a configuration wants in reserve is held from its start to its end, and a failed
// reload or a validation changes nothing.
func TestHeapReserveFollowsTheConfiguration(t *testing.T) {
	t.Setenv("GOGC", "")
	expect := func(want int64) {
		t.Helper()
		if got := reserve.size(); got != want {
			t.Fatalf("%d bytes are in reserve, want %d", got, want)
		}
	}
	expect(0)
	handler := "lbpro " + serve(t, say("ok")).addr
	s := startSite(t, handler)
	expect(defaultHeapReserve)
	text := withOption(s.addr, "heap_reserve 2MiB", handler)
	if err := caddy.Validate(parsed(t, withOption(s.addr, "heap_reserve 64MiB", handler))); err != nil {
		t.Fatal(err)
	}
	expect(defaultHeapReserve)
	if err := caddy.Load(adapt(t, text), true); err != nil {
		t.Fatal(err)
	}
	expect(2 << 20)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	bad := withOption(s.addr, "heap_reserve 64MiB", handler) + "http://:" + port + " {\n\tbind 127.0.0.1\n\trespond ok\n}\n"
	for range 4 { // apps start in random order
		if err := caddy.Load(adapt(t, bad), true); err == nil {
			t.Fatal("the reload has not failed")
		}
		expect(2 << 20)
	}
	if err := caddy.Load(adapt(t, withOption(s.addr, "heap_reserve 0", handler)), true); err != nil {
		t.Fatal(err)
	}
	expect(0)
	s.get("/").want(t, 200, "ok")
}

// A memory limit is shared sparingly, and an operator who has set GOGC is not overruled.
func TestHeapReserveIsAffordable(t *testing.T) {
	for _, c := range []struct {
		wanted, limit int64
		gogc          string
		want          int64
	}{
		{16 << 20, math.MaxInt64, "", 16 << 20},
		{16 << 20, 64 << 20, "", 4 << 20},
		{16 << 20, 1 << 30, "", 16 << 20},
		{16 << 20, math.MaxInt64, "100", 0},
		{16 << 20, math.MaxInt64, "off", 0},
		{0, math.MaxInt64, "", 0},
	} {
		if got := affordable(c.wanted, c.limit, c.gogc); got != c.want {
			t.Errorf("affordable(%d, %d, %q) is %d, want %d", c.wanted, c.limit, c.gogc, got, c.want)
		}
	}
}

// The reserve does what it is for: the same garbage is collected much less often.
func TestHeapReserveSparesCollections(t *testing.T) {
	t.Setenv("GOGC", "")
	collections := func() uint32 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range 20_000 {
			garbage = make([]byte, 20<<10)
		}
		garbage = nil
		runtime.ReadMemStats(&after)
		return after.NumGC - before.NumGC
	}
	without := collections()
	a := new(App)
	// As much as all that is in use, several times: what other tests have left counts.
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	reserve.set(a, 8*int64(now.HeapAlloc))
	defer reserve.drop(a)
	if reserve.size() == 0 {
		t.Skip("a memory limit leaves no room for a reserve")
	}
	if with := collections(); with >= without {
		t.Errorf("%d collections with the reserve, %d without", with, without)
	}
}

var garbage []byte

// The global option becomes the app's JSON, and what is wrong is refused.
func TestGlobalOptionAdapts(t *testing.T) {
	text := withOption("127.0.0.1:1", "interval 10ms\n\t\theap_reserve 32MiB", "lbpro a:80")
	var cfg struct {
		Apps struct {
			LBPro json.RawMessage `json:"lbpro"`
		}
	}
	if err := json.Unmarshal(adapt(t, text), &cfg); err != nil {
		t.Fatal(err)
	}
	if got, want := string(cfg.Apps.LBPro), `{"heap_reserve":33554432,"interval":10000000}`; !sameJSON(t, got, want) {
		t.Errorf("adapts to %s, want %s", got, want)
	}
	for option, want := range map[string]string{
		"heap_reserve 1 2":         "wrong argument count",
		"heap_reserve":             "wrong argument count",
		"heap_reserve much":        "a size such as",
		"interval soon":            "a duration above 0",
		"memory 1MiB":              "there are interval and heap_reserve",
		"heap_reserve 2GiB":        "heap_reserve is 2147483648 bytes",
		"interval 10s":             "it must be between 1ms and 1s",
		"interval 1ms\n}\nlbpro {": "given already",
	} {
		text := withOption("127.0.0.1:1", option, "lbpro a:80")
		out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
		if err == nil {
			c := new(caddy.Config)
			if err = json.Unmarshal(out, c); err == nil {
				err = caddy.Validate(c)
			}
		}
		if err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q gives the error %v, want one with %q", option, err, want)
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}
