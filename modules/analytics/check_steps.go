package analytics

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/caddy-lbpro/caddy-lbpro/internal/adminclient"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
)

// checker makes the steps of a check.
type checker struct {
	ask   func(uri string, v any) error
	began time.Time
	steps []CheckStep

	stats  statsAnswer
	status *StatusReport
}

// run makes all steps. One that the rest rests on ends the check when it fails.
func (c *checker) run() CheckReport {
	c.began = time.Now()
	if c.reach() && c.engine() {
		c.modules()
		c.start()
		c.sources()
		c.pipelines()
		c.storage()
		c.query()
		c.correlation()
	}
	r := CheckReport{Steps: c.steps}
	r.OK = r.count(checkFailed) == 0
	return r
}

func (c *checker) add(name, state, detail, fix string) {
	now := time.Now()
	c.steps = append(c.steps, CheckStep{Name: name, State: state, Detail: detail, Fix: fix, TookSeconds: now.Sub(c.began).Seconds()})
	c.began = now
}

func (c *checker) pass(name, format string, args ...any) {
	c.add(name, checkPassed, fmt.Sprintf(format, args...), "")
}

func (c *checker) skip(name, format string, args ...any) {
	c.add(name, checkSkipped, fmt.Sprintf(format, args...), "")
}

func (c *checker) fail(name, detail, fix string) { c.add(name, checkFailed, detail, fix) }

// notYet is for what comes by itself: it is no failure until the engine had the time for it.
func (c *checker) notYet(name, detail string, interval float64) {
	state := checkFailed
	if c.status.UptimeSeconds < 3*interval+10 {
		state = checkWaiting
	}
	c.add(name, state, detail, waitFor(interval))
}

// reach finds the admin API, with the module.
func (c *checker) reach() bool {
	const name = "admin API"
	err := c.ask("/analytics/stats", &c.stats)
	switch {
	case adminclient.Status(err) == http.StatusNotFound: // that Caddy does not have the module
		c.fail(name, err.Error(), "build Caddy with it: eval \"xcaddy build $(caddy lbpro build-flags)\"")
	case err != nil:
		c.fail(name, err.Error(), "start Caddy with `caddy run`, or say where its admin API is with --address or --config")
	default:
		c.pass(name, "Caddy answers")
	}
	return err == nil
}

func (c *checker) engine() bool {
	const name = "engine"
	s := c.stats.AnalyticsStatus
	if s == nil {
		c.fail(name, c.stats.Analytics, c.stats.AnalyticsReason)
		return false
	}
	c.status = s
	switch s.State {
	case phaseRunning:
		c.pass(name, "running for %v", time.Duration(s.UptimeSeconds*float64(time.Second)).Round(time.Second))
	case phaseStarting:
		c.notYet(name, "it is still starting", s.Settings.CollectIntervalSeconds)
	default:
		c.fail(name, cmp.Or(s.State, "no state"), cmp.Or(strings.Join(s.Problems, "; "), "start Caddy again, and look at its log"))
	}
	return true
}

// modules looks for what the engine watches. None of it has to be there.
func (c *checker) modules() {
	if c.stats.Balancer == stateRunning {
		c.pass("module lbpro", "%s, %d of %s serve", english.Plural(len(c.stats.Pools), "pool", ""), c.stats.Totals.Serving, english.Plural(c.stats.Totals.Backends, "backend", ""))
	} else {
		c.skip("module lbpro", "%s", c.stats.BalancerReason)
	}
	const name = "module flowmaster"
	var any map[string]any
	err := c.ask("/analytics/flows/summary", &any)
	switch {
	case adminclient.Status(err) == http.StatusServiceUnavailable:
		c.skip(name, "%s", err.Error())
	case err != nil:
		c.fail(name, err.Error(), "look at `caddy flowmaster status`")
	default:
		c.pass(name, "it answers")
	}
}

func (c *checker) start() {
	interval := max(c.status.Settings.CollectIntervalSeconds, c.status.Settings.AnalyzeIntervalSeconds)
	before := "" // a step that has failed, which the others wait for
	for _, s := range c.status.Steps {
		name := "start: " + s.Name
		switch s.State {
		case done:
			c.pass(name, "took %.3g s", s.TookSeconds)
		case skipped:
			c.skip(name, "nothing to do")
		case failed:
			c.fail(name, s.Error, cmp.Or(s.Error, "look at Caddy's log"))
			before = s.Name
		default:
			if before != "" {
				c.skip(name, "it waits for the step %s", before)
				continue
			}
			c.notYet(name, s.State, interval)
		}
	}
}

// closed says that the store is not open, which is told as the step of the start and the
// store, and that what rests on it has to wait.
func (c *checker) closed() bool { return c.status.Store == nil }

const waitsForStore = "it waits for the store"

// late says how long ago something was last done, and whether that is too long.
func (c *checker) late(last time.Time, interval float64) (ago time.Duration, late bool) {
	ago = max(c.stats.Time.Sub(last), 0)
	return ago.Round(time.Millisecond), ago > 3*time.Duration(interval*float64(time.Second))+5*time.Second
}

func (c *checker) sources() {
	if len(c.status.Sources) == 0 {
		c.fail("sources", "there is none", "take `registry off` out of `analytics`, or add a source")
	}
	for _, s := range c.status.Sources {
		name := "source " + s.Name
		ago, late := c.late(s.LastRun, s.IntervalSeconds)
		switch {
		case s.LastRun.IsZero() && c.closed():
			c.skip(name, waitsForStore)
		case s.LastRun.IsZero():
			c.notYet(name, "nothing has been collected yet", s.IntervalSeconds)
		case s.State == "down":
			c.fail(name, cmp.Or(s.LastError, "it is down"), sourceFix(s.LastError))
		case late:
			c.fail(name, fmt.Sprintf("collected last %v ago, every %g s is due", ago, s.IntervalSeconds), "the machine may be overloaded; look at Caddy's log")
		case s.LastSamples == 0:
			c.fail(name, "the last collection brought no sample", "see that the target serves metrics under the path in the configuration")
		default:
			c.pass(name, "%s from %s %v ago", english.Plural(s.LastSamples, "sample", ""), english.Plural(s.Targets, "target", ""), ago)
		}
	}
}

// sourceFix says what to do about a target that is down. The words are those of Prometheus.
func sourceFix(problem string) string {
	for _, known := range []struct{ words, fix string }{
		{"storing what was collected", "see to the store"},
		{"body size limit", "raise `max_size` of the source, if so much is what the target has to say"},
		{"sample limit", "raise `max_samples` of the source, if the target has so many series"},
		{"label_limit", "raise `max_labels` of the source, if the target has so many"},
		{"label_name_length_limit", "raise `max_label_name` of the source, if the target has such long ones"},
		{"label_value_length_limit", "raise `max_label_value` of the source, if the target has such long ones"},
		{"HTTP status 401", "see to `basic_auth` or `bearer_token` of the source"},
		{"HTTP status 403", "see to `basic_auth` or `bearer_token` of the source"},
		{"HTTP status 404", "see that the path in the configuration is where the target has its metrics"},
		{"HTTP status 30", "take the address that the target leads to, or `follow_redirects` in the source"},
		{"valid start token", "see that the path in the configuration is where the target has its metrics: it answers with something else"},
		{"deadline exceeded", "the target is slow: see to it, or raise `timeout` of the source and the interval"},
	} {
		if strings.Contains(problem, known.words) {
			return known.fix
		}
	}
	return "see that the target answers, and that its address in the configuration is right"
}

func waitFor(seconds float64) string {
	return fmt.Sprintf("check again in %.0f s, or with --wait 1m", max(seconds, 1))
}

func (c *checker) pipelines() {
	if len(c.status.Pipelines) == 0 {
		c.skip("pipelines", "there is none: they come with `lbpro`, `flowmaster` and `metrics`, or add one with signals to `analytics`")
	}
	for _, p := range c.status.Pipelines {
		name := "pipeline " + p.Name
		ago, late := c.late(p.LastRun, p.IntervalSeconds)
		switch {
		case p.Signals == 0:
			c.skip(name, "it joins the signals of %s", strings.Join(p.Joins, " and "))
		case p.LastError != "":
			c.fail(name, p.LastError, "correct the PromQL of the signal, or see to the source or the store")
		case p.LastRun.IsZero() && c.closed():
			c.skip(name, waitsForStore)
		case p.LastRun.IsZero():
			c.notYet(name, "it has not run yet", p.IntervalSeconds)
		case late:
			c.fail(name, fmt.Sprintf("ran last %v ago, every %g s is due", ago, p.IntervalSeconds), "the machine may be overloaded: take longer intervals, or fewer signals")
		default:
			c.pass(name, "%s, %d series, %v ago", english.Plural(p.Signals, "signal", ""), p.Series, ago)
		}
	}
}

// storage looks whether what is collected arrives.
func (c *checker) storage() {
	const name = "store"
	s := c.status.Store
	if s == nil {
		if why := strings.Join(c.status.Problems, "; "); why != "" {
			c.fail(name, "it is not open", why)
		} else {
			c.notYet(name, "it is not open", c.status.Settings.CollectIntervalSeconds)
		}
		return
	}
	ago, late := c.late(s.Newest, c.status.Settings.CollectIntervalSeconds)
	switch {
	case !s.OK:
		c.fail(name, "it cannot be written: "+s.Problem, cmp.Or(s.Problem, "look at Caddy's log"))
	case s.Newest.IsZero():
		c.notYet(name, "it is empty", c.status.Settings.CollectIntervalSeconds)
	case late:
		c.fail(name, fmt.Sprintf("the newest sample is %v old", ago), "see that sources are collected and that there is room where the store is: "+s.Location)
	default:
		c.pass(name, "%s: %d series, %d bytes, newest sample %v old", s.Kind, s.Series, s.Bytes, ago)
	}
}

// query asks the store for what was collected last: only what was written can be read.
func (c *checker) query() {
	const name = "query"
	if c.closed() {
		c.skip(name, waitsForStore)
		return
	}
	var a struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	err := c.ask("/analytics/v1/query?query="+url.QueryEscape("max(timestamp(up))"), &a)
	if err != nil {
		c.fail(name, err.Error(), err.Error())
		return
	}
	interval := c.status.Settings.CollectIntervalSeconds
	if len(a.Data.Result) == 0 {
		c.notYet(name, "PromQL finds no target's `up`", interval)
		return
	}
	seconds, err := strconv.ParseFloat(fmt.Sprint(a.Data.Result[0].Value[1]), 64)
	if err != nil {
		c.fail(name, fmt.Sprintf("PromQL gives no time: %v", err), "look at Caddy's log")
		return
	}
	var collected time.Time
	for _, s := range c.status.Sources {
		if s.LastRun.After(collected) {
			collected, interval = s.LastRun, max(interval, s.IntervalSeconds)
		}
	}
	slack := time.Duration(2*interval*float64(time.Second)) + 5*time.Second
	if c.status.Store != nil && c.status.Store.Kind == "prometheus" {
		slack += remoteDelay
	}
	if behind := collected.Sub(time.UnixMilli(int64(seconds * 1000))); behind > slack {
		c.fail(name, fmt.Sprintf("the last collection was at %s, and the newest sample that can be read is %v older: what is collected does not arrive in the store",
			collected.Format(time.RFC3339), behind.Round(time.Second)),
			"see the store in `caddy analytics status`, and Caddy's log; a remote store may still have to take what waits")
		return
	}
	c.pass(name, "what was collected last can be read")
}

// remoteDelay is how long a remote store may take to show what it has.
const remoteDelay = time.Minute

// correlation has one computed, over all that the windows have.
func (c *checker) correlation() {
	const name = "correlation"
	switch {
	case c.closed():
		c.skip(name, waitsForStore)
		return
	case len(c.status.Pipelines) == 0:
		c.skip(name, "there are no signals to compare")
		return
	}
	interval := time.Duration(c.status.Settings.CollectIntervalSeconds * float64(time.Second))
	from := c.stats.Time.Add(-min(analysisPoints*interval, time.Hour))
	var a correlationAnswer
	err := c.ask("/analytics/correlation?limit=1&from="+strconv.FormatInt(from.Unix(), 10), &a)
	// A rate looks back over some collections, and the first brings nothing to compare with.
	need := (correlate.MinSamples + rateIntervals + 2) * interval
	uptime := time.Duration(c.status.UptimeSeconds * float64(time.Second))
	switch {
	case err != nil:
		c.fail(name, err.Error(), err.Error())
	case a.Summary.Tests > 0:
		c.pass(name, "%d pairs tested, %d significant", a.Summary.Tests, a.Summary.Significant)
	case uptime < need:
		left := (need - uptime).Round(time.Second)
		have := min(max(int(uptime/interval)-rateIntervals, 0), correlate.MinSamples-1)
		c.add(name, checkWaiting, fmt.Sprintf("not enough data yet: about %d of %d samples; ready in about %v", have, correlate.MinSamples, left),
			fmt.Sprintf("nothing is wrong: let it collect, with some traffic, and check again then, or with --wait %v", (left+interval).Round(time.Second)))
	default:
		c.fail(name, fmt.Sprintf("%d series, and no two of them have %d samples that vary", a.Summary.Series, correlate.MinSamples),
			"send traffic through Caddy for some minutes: what never changes cannot be compared; and see that no pipeline or source above has failed")
	}
}
