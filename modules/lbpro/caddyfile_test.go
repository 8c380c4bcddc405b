package lbpro

import (
	"encoding/json"
	cmdflag "flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

var update = cmdflag.Bool("update", false, "rewrite the golden files of the handler")

// Each file in testdata/handler is a site's directives, a line of dashes, and the JSON of
// the handler that they adapt to.
func TestHandlerAdapts(t *testing.T) {
	files, err := filepath.Glob("testdata/handler/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	seen := make(map[string]bool)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(text), "\n----------\n")
			if !ok {
				t.Fatal("the file has no line of ten dashes")
			}
			got, err := adaptHandler(":8080 {\n" + input + "\n}\n")
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(input+"\n----------\n"+got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != strings.TrimSpace(want) {
				t.Errorf("adapts to\n%s\nwant\n%s", got, want)
			}
			// What comes out goes in again: Caddy takes its own JSON strictly.
			cfg := new(caddy.Config)
			if err := caddy.StrictUnmarshalJSON(adapt(t, config("127.0.0.1:1", input)), cfg); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(cfg); err != nil {
				t.Errorf("what it adapts to is refused: %v", err)
			}
			for _, word := range strings.Fields(input) {
				seen[word] = true
			}
		})
	}
	for name := range subdirectives {
		if !seen[name] {
			t.Errorf("no golden file has the subdirective %s", name)
		}
	}
}

// Whatever is wrong is refused with the file, the line, and what is allowed instead.
func TestBadInputIsRefused(t *testing.T) {
	for text, want := range map[string][]string{
		"pool":                                   {"wrong argument count", "Caddyfile:3"},
		"pool a b":                               {"wrong argument count", "Caddyfile:3"},
		"pool a\npool b":                         {"pool is given already", "Caddyfile:4"},
		"policy":                                 {"wrong argument count", "Caddyfile:3"},
		"policy fastest":                         {`unknown policy "fastest"`, "adaptive", "least_conn", "Caddyfile:3"},
		"policy adaptive\npolicy p2c":            {"already", "Caddyfile:4"},
		"lb_policy first\npolicy p2c":            {"already", "Caddyfile:4"},
		"weight a:80":                            {"wrong argument count", "Caddyfile:3"},
		"weight a:80 heavy":                      {`weight of a:80 is "heavy"`, "a number from 0", "Caddyfile:3"},
		"weight a:80 -1":                         {`"-1"`, "a number from 0", "Caddyfile:3"},
		"weight a:80 nan":                        {`"nan"`, "a number from 0", "Caddyfile:3"},
		"weight a:80 inf":                        {"from 0 to 1000000", "Caddyfile:3"},
		"weight a:80 2\nweight a:80 3":           {"weight of a:80 is given already", "Caddyfile:4"},
		"limit 3\nweight z:80 2":                 {"weight of z:80", `the upstreams are ["a:80" "b:80"]`, "Caddyfile:4"},
		"backup":                                 {"wrong argument count", "Caddyfile:3"},
		"limit 3\nbackup z:80":                   {"backup z:80 is not an upstream", `["a:80" "b:80"]`, "Caddyfile:4"},
		"limit":                                  {"wrong argument count", "Caddyfile:3"},
		"limit many":                             {`limit is "many"`, "a whole number from 0", "Caddyfile:3"},
		"limit -1":                               {`limit is "-1"`, "a whole number from 0", "Caddyfile:3"},
		"limit 1.5":                              {`limit is "1.5"`, "a whole number from 0", "Caddyfile:3"},
		"limit 99999999999999999999":             {"a whole number from 0", "Caddyfile:3"},
		"limit 1\nlimit 2":                       {"limit is given already", "Caddyfile:4"},
		"hedge":                                  {"wrong argument count", "Caddyfile:3"},
		"hedge maybe":                            {`hedge is "maybe"`, "on or off", "Caddyfile:3"},
		"panic_threshold 50":                     {"panic_threshold is 50", "a share from 0 to 1", "Caddyfile:3"},
		"panic_threshold half":                   {`panic_threshold is "half"`, "Caddyfile:3"},
		"eject on":                               {`eject "on"`, "a block of options, or off", "Caddyfile:3"},
		"eject off now":                          {"wrong argument count", "Caddyfile:3"},
		"eject {\nspeed 3\n}":                    {`unknown option "speed" of eject`, "failure_ratio", "latency_factor", "Caddyfile:4"},
		"eject {\nhang 5\n}":                     {`hang is "5": it must be a duration`, "500ms", "Caddyfile:4"},
		"eject {\nhang 1s\nhang 2s\n}":           {`option "hang" of eject is given already`, "Caddyfile:5"},
		"eject {\nhang 1s 2s\n}":                 {"wrong argument count", "Caddyfile:4"},
		"eject {\nfailure_ratio 30\n}":           {"eject failure_ratio is 30", "a share from 0 to 1", "Caddyfile:4"},
		"eject {\nmin_requests 0\n}":             {"eject min_requests is 0", "at least 1", "Caddyfile:4"},
		"eject {\nwindow 0s\n}":                  {`window is "0s"`, "above 0", "Caddyfile:4"},
		"eject {\nwindow 1ms\n}":                 {"eject window is 1ms", "at least 100ms", "Caddyfile:4"},
		"eject {\nlatency_factor 0.5\n}":         {"eject latency_factor is 0.5", "above 1", "Caddyfile:4"},
		"eject {\nlatency_windows 0\n}":          {`latency_windows is "0"`, "above 0", "Caddyfile:4"},
		"eject {\nmax_percent 101\n}":            {"eject max_percent is 101", "from 0 to 100", "Caddyfile:4"},
		"eject {\nbase_time 10s\nmax_time 5s\n}": {"eject max_time is 5s and base_time is 10s", "Caddyfile:5"},
		"eject off\neject {\nhang 1s\n}":         {"eject is given already", "Caddyfile:4"},
		"slow_start {\nmin_weight 2\n}":          {"slow_start min_weight is 2", "at most 1", "Caddyfile:4"},
		"slow_start {\nmin_weight 0\n}":          {`min_weight is "0"`, "above 0", "Caddyfile:4"},
		"slow_start {\naggression 50\n}":         {"slow_start aggression is 50", "from 0.1 to 10", "Caddyfile:4"},
		"slow_start {\nramp 5s\n}":               {`unknown option "ramp" of slow_start`, "window, min_weight, aggression", "Caddyfile:4"},
		"slow_start 5s":                          {`slow_start "5s"`, "or off", "Caddyfile:3"},
		"retry 3":                                {`retry "3"`, "or off", "Caddyfile:3"},
		"retry {\ntimes 3\n}":                    {`unknown option "times" of retry`, "budget", "attempts", "Caddyfile:4"},
		"retry {\nbudget 20\n}":                  {"retry budget is 20", "a share from 0 to 1", "Caddyfile:4"},
		"retry {\nattempts 0\n}":                 {`attempts is "0"`, "above 0", "Caddyfile:4"},
		"retry {\nattempts 101\n}":               {"retry attempts is 101", "to 100", "Caddyfile:4"},
		"retry {\nbudget 0\nattempts 5\n}":       {"retry budget 0 allows no repeats, but attempts is 5", "Caddyfile:4"},
		"retry {\nattempts 5\nbudget 0\n}":       {"retry budget 0 allows no repeats", "Caddyfile:5"},
		"retry {\nbackoff 1s 100ms\n}":           {"retry max_backoff is 100ms and backoff is 1s", "Caddyfile"},
		"retry {\nbackoff\n}":                    {"wrong argument count", "Caddyfile:4"},
		"retry {\nbackoff 1s 2s 3s\n}":           {"wrong argument count", "Caddyfile:4"},
		"retry {\nmax_body big\n}":               {`max_body is "big"`, "64KiB", "Caddyfile:4"},
		"retry {\nmax_body -1\n}":                {"max_body", "Caddyfile:4"},
		"retry {\nper_try_timeout -1s\n}":        {"must be a duration", "Caddyfile:4"},
		"queue 5":                                {`queue "5"`, "or off", "Caddyfile:3"},
		"queue {\nlength 5\n}":                   {`unknown option "length" of queue`, "size, timeout", "Caddyfile:4"},
		"queue {\nsize -5\n}":                    {`size is "-5"`, "Caddyfile:4"},
		"queue {\ntimeout 0s\n}":                 {`timeout is "0s"`, "above 0", "Caddyfile:4"},
		"balance fast":                           {"unrecognized subdirective balance", "slow_start", "Caddyfile:3"},
		"lb_retries x":                           {"bad lb_retries number", "Caddyfile:3"},
		"lb_try_duration long":                   {"bad duration value", "Caddyfile:3"},
	} {
		t.Run(strings.ReplaceAll(text, "\n", "; "), func(t *testing.T) {
			_, err := adaptHandler(":8080 {\nlbpro a:80 b:80 {\n" + text + "\n}\n}\n")
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error is\n%v\nwant it to contain %q", err, w)
				}
			}
		})
	}
}

// The same holds for JSON, where a handler is refused when it is provisioned.
func TestBadJSONIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`"panic_threshold": -1`:                                            "panic_threshold is -1",
		`"limit": -1`:                                                      "limit is -1",
		`"weights": {"a:80": -1}`:                                          "weight of a:80 is -1",
		`"weights": {"z:80": 1}`:                                           "weight of z:80",
		`"backups": ["z:80"]`:                                              "backup z:80",
		`"eject": {"failure_ratio": 2}`:                                    "eject failure_ratio is 2",
		`"eject": {"consecutive_failures": -1}`:                            "eject consecutive_failures is -1",
		`"eject": {"hang": -1}`:                                            "eject hang is",
		`"slow_start": {"window": -1}`:                                     "slow_start window is",
		`"slow_start": {"min_weight": -1}`:                                 "slow_start min_weight is -1",
		`"retry": {"budget": 0, "attempts": 5}`:                            "retry budget 0 allows no repeats",
		`"retry": {"attempts": -1}`:                                        "retry attempts is -1",
		`"retry": {"max_body": -1}`:                                        "retry max_body is -1",
		`"retry": {"min_concurrency": -1}`:                                 "retry min_concurrency is -1",
		`"queue": {"size": -1}`:                                            "queue size is -1",
		`"queue": {"timeout": -1}`:                                         "queue timeout is",
		`"queue": {"length": 1}`:                                           `unknown field "length"`,
		`"load_balancing": {"selection_policy": {"policy": "lbpro.none"}}`: "lbpro.none",
	} {
		t.Run(text, func(t *testing.T) {
			raw := `{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"lbpro","upstreams":[{"dial":"a:80"}],` + text + `}]}]}}}}}`
			cfg := new(caddy.Config)
			if err := json.Unmarshal([]byte(raw), cfg); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(cfg); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error is %v, want it to contain %q", err, want)
			}
		})
	}
}

// Handlers that share a pool by name have to agree on it.
func TestPoolsOfOneName(t *testing.T) {
	two := func(second string) error {
		return caddy.Validate(parsed(t, config("127.0.0.1:1", "lbpro /a a:80 {\n\tpool t\n}\nlbpro /b b:80 {\n\tpool t\n\t"+second+"\n}")))
	}
	if err := two("limit 3"); err != nil {
		t.Errorf("two handlers cannot share a pool: %v", err)
	}
	if err := two("eject off"); err == nil || !strings.Contains(err.Error(), `pool "t" is set up differently elsewhere`) {
		t.Errorf("error is %v, want one that names the pool", err)
	}
	// Without a name each set of upstreams has a pool of its own.
	if err := caddy.Validate(parsed(t, config("127.0.0.1:1", "lbpro /a a:80\nlbpro /b a:80 b:80\nlbpro /c a:80 {\n\teject off\n}"))); err != nil {
		t.Error(err)
	}
}

func FuzzCaddyfile(f *testing.F) {
	for _, dir := range []string{"testdata/handler", "testdata/policies"} {
		files, err := filepath.Glob(dir + "/*.caddyfiletest")
		if err != nil || len(files) == 0 {
			f.Fatalf("no golden files to begin with in %s: %v", dir, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			input, _, _ := strings.Cut(string(text), "\n----------\n")
			f.Add(input)
		}
	}
	f.Add("lbpro a {\nretry {\nbackoff 1s\n")
	f.Add("lbpro a {\nweight a 1e999\n}")
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil || len(tokens) == 0 || tokens[0].Text != "lbpro" {
			return
		}
		h := new(Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			return
		}
		// What is taken is within its bounds, and survives a trip through JSON.
		set, err := h.settings()
		if err != nil {
			t.Fatalf("taken by the parser and refused later: %v", err)
		}
		raw, err := json.Marshal(h)
		if err != nil {
			t.Fatalf("%v in %+v", err, h)
		}
		back := new(Handler)
		if err := json.Unmarshal(raw, back); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		if again, err := back.settings(); err != nil || again != set {
			t.Fatalf("settings are %+v, after JSON %+v (%v)", set, again, err)
		}
	})
}
