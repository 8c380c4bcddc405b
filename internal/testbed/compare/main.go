package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	scenarios, proxies []string
	scale              float64
	repeat             int
	seed               uint64
	json               string
	caddy, stock       string
	list               bool
	saturate           bool
	maxLag             time.Duration
	throughput         throughput
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(stderr)
	scenarios := f.String("scenario", "all", "comma-separated scenarios")
	names := f.String("proxies", strings.Join(proxyNames(), ","), "comma-separated proxies; lbpro/POLICY is lbpro with a policy")
	f.Float64Var(&o.scale, "scale", 1, "factor on the duration of scenarios; 1 is 20 s each")
	f.IntVar(&o.repeat, "repeat", 1, "rounds, each with the next seed; figures are medians")
	f.Uint64Var(&o.seed, "seed", 1, "seed of arrivals and work")
	f.DurationVar(&o.maxLag, "max-lag", 15*time.Millisecond, "do a trial again, twice at most, whose load was sent later than this at its 99.9th percentile; 0 takes any")
	f.StringVar(&o.json, "json", "", "file to write all figures to")
	f.StringVar(&o.caddy, "caddy", "", "Caddy binary with lbpro; built from ./cmd/caddy when empty")
	f.StringVar(&o.stock, "stock", "", "stock Caddy binary; built when empty")
	f.BoolVar(&o.list, "list", false, "list scenarios and proxies")
	f.BoolVar(&o.saturate, "throughput", false, "compare throughput of lbpro and reverse_proxy under saturation instead")
	f.IntVar(&o.throughput.rounds, "rounds", 9, "rounds of -throughput")
	f.DurationVar(&o.throughput.each, "round", 3*time.Second, "length of a round of -throughput, for each of the two")
	f.IntVar(&o.throughput.connections, "connections", 16, "connections of -throughput")
	f.Float64Var(&o.throughput.maxForeign, "max-foreign", .1, "do a round of -throughput again in which other programs took more than this part of the machine; 0 takes any")
	f.IntVar(&o.throughput.body, "body", 64, "bytes of an answer's body in -throughput")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("argument %q: only flags are taken", f.Arg(0))
	}
	if o.repeat < 1 || o.throughput.rounds < 1 {
		return o, errors.New("-repeat and -rounds must be 1 or more")
	}
	o.scenarios, o.proxies = strings.Split(*scenarios, ","), strings.Split(*names, ",")
	if *scenarios == "all" {
		o.scenarios = testbed.ScenarioNames()
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.list {
		return list(stdout)
	}
	selected, err := proxies(o.proxies)
	if err != nil {
		return err
	}
	for _, name := range o.scenarios { // before anything is built
		if _, err := testbed.NewScenario(name, testbed.ScenarioOptions{Scale: o.scale}); err != nil {
			return err
		}
	}
	if o.saturate {
		selected = sides()
	}
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs, err := binaries(ctx, selected, dir, o.caddy, o.stock)
	if err != nil {
		return err
	}
	if o.saturate {
		return o.throughput.run(ctx, stdout, programs)
	}
	var all []measures
	for _, name := range o.scenarios {
		rows, err := o.scenario(ctx, name, selected, programs, stderr)
		if err != nil {
			return err
		}
		s, err := testbed.NewScenario(name, testbed.ScenarioOptions{Scale: o.scale, Seed: o.seed})
		if err != nil {
			return err
		}
		if err := printScenario(stdout, s, rows); err != nil {
			return err
		}
		all = append(all, rows...)
		if err := o.save(all); err != nil {
			return err
		}
	}
	return printSummary(stdout, all)
}

// scenario runs all rounds of a scenario. Within a round every proxy gets the same
// seed; the first of one round is the last of the next, so that none has always the
// same neighbours.
func (o options) scenario(ctx context.Context, name string, list []proxy, programs map[string]string, log io.Writer) ([]measures, error) {
	rounds := make([][]measures, len(list))
	for round := range o.repeat {
		s, err := testbed.NewScenario(name, testbed.ScenarioOptions{Scale: o.scale, Seed: o.seed + uint64(round)})
		if err != nil {
			return nil, err
		}
		for k := range list {
			i := (k + round) % len(list)
			p := list[i]
			if programs[p.program] == "" {
				continue
			}
			m, err := o.calm(ctx, p, programs[p.program], s)
			if err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				m = measures{Scenario: name, Proxy: p.name, ours: p.ours, Skipped: err.Error()}
			}
			fmt.Fprintf(log, "%s, round %d, %s: p99 %s, %.3f %% OK, lag %s ms %s\n",
				name, round+1, p.name, m.latency(m.All.P99), 100*m.Success, number(m.Lag), m.Skipped)
			rounds[i] = append(rounds[i], m)
		}
	}
	rows := make([]measures, len(list))
	for i, p := range list {
		rows[i] = summarize(name, p, rounds[i])
	}
	return rows, nil
}

// lagTries is how often a trial is done at most for a load that is sent in time.
const lagTries = 3

// calm does a trial until its load was sent in time, and else returns the one with the
// least lag.
func (o options) calm(ctx context.Context, p proxy, binary string, s testbed.Scenario) (best measures, err error) {
	for i := range lagTries {
		m, err := try(ctx, p, binary, s)
		if err != nil {
			return m, err
		}
		if i == 0 || m.Lag < best.Lag {
			best = m
		}
		if best.Busy = o.maxLag > 0 && best.Lag > ms(o.maxLag); !best.Busy {
			break
		}
	}
	return best, nil
}

// summarize takes the median of the rounds that have figures.
func summarize(scenario string, p proxy, rounds []measures) measures {
	var good []measures
	for _, m := range rounds {
		if m.Skipped == "" {
			good = append(good, m)
		}
	}
	switch {
	case len(good) > 0:
		return median(good)
	case len(rounds) > 0:
		return rounds[0]
	}
	return measures{Scenario: scenario, Proxy: p.name, ours: p.ours, Skipped: p.program + " is not installed"}
}

func (o options) save(all []measures) error {
	if o.json == "" {
		return nil
	}
	b, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(b, '\n'), 0o644)
}

func list(out io.Writer) error {
	for _, name := range testbed.ScenarioNames() {
		s, err := testbed.NewScenario(name, testbed.ScenarioOptions{})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-16s %s\n", name, s.About)
	}
	_, err := fmt.Fprintf(out, "\nproxies: %s, and lbpro/POLICY\n", strings.Join(proxyNames(), ", "))
	return err
}
