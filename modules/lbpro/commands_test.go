package lbpro

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// command runs `caddy lbpro` with the arguments and returns what it printed.
func command(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := commandTo(ctx, &out, args...)
	return out.String(), err
}

func commandTo(ctx context.Context, out io.Writer, args ...string) error {
	root := &cobra.Command{Use: "lbpro", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(statusCommand(), buildFlagsCommand(), demoCommand())
	root.AddCommand(operateCommands()...)
	root.SetOut(out)
	root.SetErr(out)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// waiting is a buffer that calls then when it has the text so many times.
type waiting struct {
	bytes.Buffer
	text  string
	times int
	then  func()
}

// Write implements io.Writer.
func (w *waiting) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if strings.Count(w.String(), w.text) >= w.times {
		w.then()
	}
	return n, err
}

// says checks that a command succeeds and prints what is wanted.
func says(t *testing.T, want []string, args ...string) string {
	t.Helper()
	out, err := command(t.Context(), args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%q does not print %q:\n%s", args, w, out)
		}
	}
	return out
}

// refuses checks that a command fails with an error that mentions what is wanted.
func refuses(t *testing.T, want []string, args ...string) {
	t.Helper()
	out, err := command(t.Context(), args...)
	if err == nil {
		t.Errorf("%q succeeds and prints %s", args, out)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q: error %q does not mention %q", args, err, w)
		}
	}
}

func TestStatusShowsAndOperates(t *testing.T) {
	one, two := serve(t, say("one")), serve(t, say("two"))
	s := startAdmin(t, fmt.Sprintf("lbpro %s %s {\n\tpool web/app\n}", one.addr, two.addr))
	s.get("/")
	pool := poolNamed(t, "web/app")
	idle(t, pool)
	at := []string{"--address", s.admin.addr}
	with := func(args ...string) []string { return append(args, at...) }

	out := says(t, []string{"web/app", "2 of 2 serving", "BACKEND", one.addr, two.addr, "serving"}, with("status")...)
	if strings.Contains(out, "\x1b") {
		t.Errorf("colours where there is no terminal: %q", out)
	}
	says(t, []string{"score", "width"}, with("status", "--why", "web/app")...)
	refuses(t, []string{`"other"`, `"web/app"`}, with("status", "other")...)
	var list poolList
	if err := json.Unmarshal([]byte(says(t, nil, with("status", "--json")...)), &list); err != nil || len(list.Pools) != 1 {
		t.Errorf("--json gives %+v: %v", list, err)
	}

	says(t, []string{"takes no new requests"}, with("drain", "web/app", one.addr, "--deadline", "5m", "--reason", "deploy")...)
	says(t, []string{"draining", "by an operator: deploy", "1 of 2 serving"}, with("status")...)
	says(t, []string{"serves again"}, with("undrain", "web/app", one.addr)...)
	says(t, []string{"weight 2.5"}, with("weight", "web/app", one.addr, "2.5")...)
	if w := pool.Get(one.addr).Base(); w != 2.5 {
		t.Errorf("weight is %v, want 2.5", w)
	}
	says(t, []string{"configured weight"}, with("weight", "web/app", one.addr, "--clear")...)
	says(t, []string{"ejected for 1m"}, with("eject", "web/app", one.addr, "--duration", "1m")...)
	refuses(t, []string{"no other backend"}, with("eject", "web/app", two.addr)...)
	says(t, []string{"ejected", "back in"}, with("status")...)
	says(t, []string{"serves again"}, with("restore", "web/app", one.addr)...)
	if pool.Get(one.addr).State() != balance.Serving {
		t.Error("it was not restored")
	}

	refuses(t, []string{"nobody", one.addr}, with("drain", "web/app", "nobody")...)
	refuses(t, []string{"weight"}, with("weight", "web/app", one.addr)...)
	refuses(t, []string{"heavy"}, with("weight", "web/app", one.addr, "heavy")...)
	refuses(t, []string{"soon"}, with("eject", "web/app", one.addr, "--duration", "soon")...)
}

func TestStatusWatchesUntilItIsStopped(t *testing.T) {
	s := startAdmin(t, "lbpro "+serve(t, say("x")).addr+" {\n\tpool t\n}")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out := &waiting{text: "BACKEND", times: 3, then: cancel}
	if err := commandTo(ctx, out, "status", "--watch", "--interval", "50ms", "--address", s.admin.addr); err != nil {
		t.Fatalf("stopped by its user it fails: %v", err)
	}
	if n := strings.Count(out.String(), "BACKEND"); n != 3 {
		t.Errorf("it was shown %d times, and stopped at the third", n)
	}
}

func TestStatusSaysWhatIsWrong(t *testing.T) {
	refuses(t, []string{"no Caddy answers", "--address"}, "status", "--address", freeAddr(t))
	s := startAdmin(t, "respond hello")
	says(t, []string{"no pools"}, "status", "--address", s.admin.addr)
	refuses(t, []string{"built without lbpro"}, "status", "--address", serve(t, http.NotFound).addr)
	file := filepath.Join(t.TempDir(), "caddy.json")
	if err := os.WriteFile(file, []byte(`{"admin": {"listen": "`+s.admin.addr+`"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, []string{"no pools"}, "status", "--config", file)
}

func TestBuildFlagsNeedAManifest(t *testing.T) {
	refuses(t, []string{"--manifest"}, "build-flags")
	says(t, []string{"v2.", "--with github.com/caddy-lbpro/caddy-lbpro/modules/lbpro@v"}, "build-flags", "--manifest", "../../xcaddy.json")
	out := says(t, nil, "build-flags", "--manifest", "../../xcaddy.json", "--lines", "--local", "../..")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 3 || lines[1] != "--with" || !strings.Contains(lines[2], "@v0.0.0=") {
		t.Errorf("lines: %q", lines)
	}
	refuses(t, []string{"reading the manifest"}, "build-flags", "--manifest", "nowhere.json")
}
