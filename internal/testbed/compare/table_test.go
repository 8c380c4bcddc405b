package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

func TestMedianOfRounds(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	rounds := []measures{
		{Success: 1, All: quantiles{P99: 3}, Stop: f(10), Return: f(-1), Share: []float64{.2, .8}, Failures: map[string]int64{"500": 1}, Capped: 1},
		{Success: .5, All: quantiles{P99: 1}, Stop: f(-1), Return: f(-1), Share: []float64{.4, .6}, Failures: map[string]int64{"500": 2}, Busy: true},
		{Success: .9, All: quantiles{P99: 2}, Stop: f(30), Return: f(5), Share: []float64{.3, .7}},
	}
	m := median(rounds)
	if m.Rounds != 3 || m.Success != .9 || m.All.P99 != 2 || m.Share[0] != .3 || m.Failures["500"] != 3 || m.Capped != 1 || !m.Busy {
		t.Errorf("median: %+v", m)
	}
	if *m.Stop != 30 || *m.Return != -1 || m.Recovery != nil {
		t.Errorf("reactions: %v %v %v", *m.Stop, *m.Return, m.Recovery)
	}
	if got := middle([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of four is %g", got)
	}
	got := typical([]time.Duration{testbed.Unmeasured, 4 * time.Millisecond, testbed.Never, 2 * time.Millisecond})
	if got == nil || *got != 4 {
		t.Errorf("typical of 2, 4 and never: %v", got)
	}
	if typical([]time.Duration{testbed.Unmeasured}) != nil || *typical([]time.Duration{testbed.Never}) != -1 {
		t.Error("typical of nothing, and of never")
	}
}

func TestTable(t *testing.T) {
	s, err := testbed.NewScenario("errors", testbed.ScenarioOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bound := quantiles{P99: 40, P999: 60}
	stop := 120.
	rows := []measures{
		{Proxy: "absent", Scenario: "errors", Skipped: "nginx is not installed"},
		{Proxy: "lbpro", Scenario: "errors", ours: true, Success: 1, Patience: 10000, All: quantiles{P99: 50, P999: 90}, Bound: bound, Stop: &stop, Share: []float64{.25, .75}, Busy: true, Lag: 20},
		{Proxy: "bad", Scenario: "errors", Success: .6, Patience: 10000, All: quantiles{P99: 10000, P999: 10000}, Bound: bound, Share: []float64{.5, .5}, Failures: map[string]int64{"500": 7}},
		{Proxy: "other", Scenario: "errors", Success: 1, Patience: 10000, All: quantiles{P99: 100, P999: 200}, Bound: bound, Share: []float64{.5, .5}},
	}
	var out bytes.Buffer
	if err := printScenario(&out, s, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"not installed", "1.25", "1.50", "120", "fail", "25.0 75.0 %", "500:7", "!20.0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "bound "); n != 1 {
		t.Errorf("the bound is there %d times", n)
	}
	out.Reset()
	if err := printSummary(&out, rows); err != nil {
		t.Fatal(err)
	}
	if line := out.String(); !strings.Contains(line, "other") || strings.Contains(line, "bad") || !strings.Contains(line, "0.50") {
		t.Errorf("summary:\n%s", line)
	}
}

func TestSharesOfManyBackends(t *testing.T) {
	s, err := testbed.NewScenario("sixty", testbed.ScenarioOptions{})
	if err != nil {
		t.Fatal(err)
	}
	share := make([]float64, 60)
	for i := range share {
		share[i] = 1. / 60
	}
	if got := shares(s, share); got != "20 backends 33.3 (fair 11.1), 40 backends 66.7 (fair 88.9) %" {
		t.Errorf("shares: %s", got)
	}
}
