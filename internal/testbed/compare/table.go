package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// printScenario prints a scenario's table: the bound, then a line for each proxy.
func printScenario(out io.Writer, s testbed.Scenario, rows []measures) error {
	fmt.Fprintf(out, "\n%s: %s\n%.0f requests/s for %s over %d backends, utilisation %.2f of nominal\n\n",
		s.Name, s.About, s.Load.Rate, s.Load.Duration, len(s.Backends), s.Utilisation())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "proxy\tp50\tp90\tp99\tp99.9\tmax\tOK %\tx p99\tx p99.9\tOK p99\tCPU s\ttries\tstop\treturn\trecover\tlag\t")
	bounded := false
	for _, m := range rows {
		if m.Skipped != "" {
			fmt.Fprintf(w, "%s\t%s\t\n", m.Proxy, m.Skipped)
			continue
		}
		if !bounded {
			bounded = true
			b := m.Bound
			fmt.Fprintf(w, "bound\t%s\t%s\t%s\t%s\t%s\t\t\t\t\t\t\t\t\t\t\t\n", number(b.P50), number(b.P90), number(b.P99), number(b.P999), number(b.Max))
		}
		lag := number(m.Lag)
		if m.Busy {
			lag = "!" + lag
		}
		cpu := "-"
		if m.CPU != nil {
			cpu = fmt.Sprintf("%.2f", *m.CPU)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.3f\t%s\t%s\t%s\t%s\t%.3f\t%s\t%s\t%s\t%s\t\n", m.Proxy,
			m.latency(m.All.P50), m.latency(m.All.P90), m.latency(m.All.P99), m.latency(m.All.P999), m.latency(m.All.Max),
			100*m.Success, m.ratio(m.All.P99, m.Bound.P99), m.ratio(m.All.P999, m.Bound.P999), number(m.Answered.P99),
			cpu, m.Attempts, reaction(m.Stop), reaction(m.Return), reaction(m.Recovery), lag)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nlatencies in ms; share of requests received and failures:")
	for _, m := range rows {
		if m.Skipped == "" {
			fmt.Fprintf(out, "  %-18s %s %s", m.Proxy, shares(s, m.Share), m.failures())
			if m.Capped > 0 {
				fmt.Fprintf(out, "  (%d requests sent late: too many in flight)", m.Capped)
			}
			fmt.Fprintln(out)
		}
	}
	return nil
}

// number prints milliseconds to about three digits.
func number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

func (m measures) latency(v float64) string {
	if m.failed(v) {
		return "fail"
	}
	return number(v)
}

func (m measures) ratio(v, bound float64) string {
	if m.failed(v) || bound == 0 {
		return "-"
	}
	return strconv.FormatFloat(v/bound, 'f', 2, 64)
}

func reaction(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v < 0:
		return "never"
	default:
		return number(*v)
	}
}

// shares prints the share of each backend in percent; of many, the sums by speed.
func shares(s testbed.Scenario, share []float64) string {
	var parts []string
	if len(share) <= 12 {
		for _, v := range share {
			parts = append(parts, fmt.Sprintf("%.1f", 100*v))
		}
		return strings.Join(parts, " ") + " %"
	}
	type group struct {
		n          int
		fair, sent float64
	}
	var order []string
	groups := map[string]*group{}
	for i, v := range share {
		fair := s.FairShare(i)
		key := fmt.Sprintf("%.4f", fair)
		if groups[key] == nil {
			groups[key] = &group{}
			order = append(order, key)
		}
		g := groups[key]
		g.n, g.fair, g.sent = g.n+1, g.fair+fair, g.sent+v
	}
	for _, key := range order {
		g := groups[key]
		parts = append(parts, fmt.Sprintf("%d backends %.1f (fair %.1f)", g.n, 100*g.sent, 100*g.fair))
	}
	return strings.Join(parts, ", ") + " %"
}

// printSummary sets our proxies against the best of the others, scenario by scenario.
// The best is the one with the lowest p99 over all requests.
func printSummary(out io.Writer, all []measures) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nscenario\tours\tp99\tx bound\tp99.9\tx bound\tOK %\tbest other\tp99\tp99.9\tOK %\tp99 ratio\tp99.9 ratio\t")
	lines := 0
	for _, m := range all {
		best := bestOther(all, m.Scenario)
		if !m.ours || m.Skipped != "" || best == nil {
			continue
		}
		lines++
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%.3f\t%s\t%s\t%s\t%.3f\t%s\t%s\t\n", m.Scenario, m.Proxy,
			m.latency(m.All.P99), m.ratio(m.All.P99, m.Bound.P99), m.latency(m.All.P999), m.ratio(m.All.P999, m.Bound.P999), 100*m.Success,
			best.Proxy, best.latency(best.All.P99), best.latency(best.All.P999), 100*best.Success,
			m.ratio(m.All.P99, best.All.P99), m.ratio(m.All.P999, best.All.P999))
	}
	if lines == 0 {
		return nil
	}
	return w.Flush()
}

func bestOther(all []measures, scenario string) *measures {
	var best *measures
	for i := range all {
		m := &all[i]
		if m.ours || m.Skipped != "" || m.Scenario != scenario {
			continue
		}
		if best == nil || m.All.P99 < best.All.P99 {
			best = m
		}
	}
	return best
}
