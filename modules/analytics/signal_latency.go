package analytics

import (
	"fmt"
	"slices"
	"strings"
)

// quantiles are those of every latency.
var quantiles = []struct {
	name string
	q    string
	in   string // words
}{
	{"p50", "0.5", "median"},
	{"p95", "0.95", "95th percentile"},
	{"p99", "0.99", "99th percentile"},
}

// latencies are the mean and the quantiles of a histogram that is a native one where the
// source and the store know these, and else a classic one.
func latencies(name, help, metric string, by []string) []Signal {
	labels := strings.Join(by, ", ")
	native := fmt.Sprintf("sum by (%s) (rate(%s[%s]))", labels, metric, rateIntervalWord)
	return signalsOfHistogram(name, help, by,
		func(q, classic string) string {
			return fmt.Sprintf("histogram_quantile(%s, %s) or %s", q, native, classic)
		},
		metric)
}

// classicLatencies are those of a histogram that is always a classic one.
func classicLatencies(name, help, metric string, by []string) []Signal {
	return signalsOfHistogram(name, help, by,
		func(_, classic string) string { return classic },
		metric)
}

func signalsOfHistogram(name, help string, by []string, quantile func(q, classic string) string, metric string) []Signal {
	labels := strings.Join(by, ", ")
	// Sum and count are there with a native one too, and histogram_avg is not in every PromQL.
	all := []Signal{{
		Name: name + "_mean_seconds", Unit: "seconds", Good: Down, By: by, Help: help + ", on average.",
		Expr: fmt.Sprintf("sum by (%s) (rate(%s_sum[%s])) / sum by (%s) (rate(%s_count[%s]))",
			labels, metric, rateIntervalWord, labels, metric, rateIntervalWord),
	}}
	for _, q := range quantiles {
		all = append(all, Signal{
			Name: name + "_" + q.name + "_seconds", Unit: "seconds", Good: Down, By: by, Help: help + ", " + q.in + ".",
			Expr: quantile(q.q, fmt.Sprintf("histogram_quantile(%s, sum by (%s, le) (rate(%s_bucket[%s])))", q.q, labels, metric, rateIntervalWord)),
		})
	}
	return all
}

func slicesOf(lists ...[]Signal) []Signal { return slices.Concat(lists...) }
