package analytics

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const signalsPage = "../../docs/signals.md"

var signalLists = []struct {
	pipeline, about string
	signals         []Signal
}{
	{pipelineBalancer, "What clients see of each pool, and what each backend does. There when `lbpro` is.", balancerSignals},
	{pipelineNetwork, "What the network does under the proxy, on the way of clients (`leg` is `downstream`, with `server`) and of backends " +
		"(`leg` is `upstream`, with `pool` and `backend`). There when `flowmaster` is.", networkSignals},
	{pipelineHTTP, "What Caddy's HTTP servers do. There when `metrics` is among the global options.", httpSignals},
	{pipelineCross, "The balancer and the network together. There when both are. The analyses compare every signal of `balancer` with every " +
		"one of `network` here, over all lags.", crossSignals},
}

// docs/signals.md is made from the signals:
//
//	go test ./modules/analytics -run TestSignalsPage -update
func TestSignalsPage(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(signalsHead)
	for _, l := range signalLists {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| signal | unit | good | labels | what |\n|---|---|---|---|---|\n", l.pipeline, l.about)
		for _, s := range l.signals {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.Name, s.Unit, s.Good, strings.Join(s.By, ", "), s.Help)
		}
	}
	if *update {
		if err := os.WriteFile(signalsPage, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(signalsPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/signals.md is out of date: go test ./modules/analytics -run TestSignalsPage -update")
	}
}

const signalsHead = `# Signals

A signal is a named PromQL expression over what is collected. It is evaluated after every collection; each element of the
vector it gives is a series, called ` + "`pipeline:signal{label=\"value\"}`" + `. These are there by themselves, and more can be
[added](analytics.md#pipelines). "Good" is the direction that is good for those who are served; where it is empty, neither is.

` + "`GET /api/analytics/metrics`" + ` has them with their PromQL and current values. A ratio of nothing to nothing, such as the error
ratio without a request, is no number, and a gap in the series.

<!-- Made by TestSignalsPage: go test ./modules/analytics -run TestSignalsPage -update -->
`

// Every signal can be evaluated, is described, and keeps the labels that it says it has.
func TestSignals(t *testing.T) {
	for _, l := range signalLists {
		seen := make(map[string]bool)
		for _, s := range l.signals {
			if err := s.check(); err != nil {
				t.Errorf("%s: %v", l.pipeline, err)
			}
			if seen[s.Name] {
				t.Errorf("%s:%s is there twice", l.pipeline, s.Name)
			}
			seen[s.Name] = true
			if s.Unit == "" || s.Help == "" {
				t.Errorf("%s:%s lacks its unit or help", l.pipeline, s.Name)
			}
			// What is about the whole host is one series.
			if strings.HasPrefix(s.Name, "host_") && len(s.By) == 0 {
				if strings.Contains(s.Expr, "by (") || !strings.HasPrefix(s.Expr, "sum(") {
					t.Errorf("%s:%s has labels that it does not say: %s", l.pipeline, s.Name, s.Expr)
				}
				continue
			}
			if len(s.By) == 0 || !strings.Contains(s.Expr, "by ("+strings.Join(s.By, ", ")) {
				t.Errorf("%s:%s is not by %v", l.pipeline, s.Name, s.By)
			}
		}
	}
}

// Rates look back over four collections at least.
func TestRateInterval(t *testing.T) {
	for interval, want := range map[time.Duration]string{time.Second: "rate(x[4s]) 1s", 20 * time.Second: "rate(x[1m20s]) 20s"} {
		if got := expand("rate(x[$__rate_interval]) $__interval", interval); got != want {
			t.Errorf("at %v: %s, want %s", interval, got, want)
		}
	}
}
