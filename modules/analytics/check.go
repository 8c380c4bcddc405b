package analytics

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/adminclient"
	"github.com/caddy-lbpro/caddy-lbpro/internal/terminal"
)

// CheckReport is what `caddy analytics check --json` prints.
type CheckReport struct {
	OK    bool        `json:"ok"`
	Steps []CheckStep `json:"steps"`
}

// CheckStep is one thing that was looked at.
type CheckStep struct {
	Name string `json:"name"`
	// State is passed, failed, waiting (it takes more time), or skipped: there is nothing
	// to look at, or a step before has failed.
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	// Fix says what to do about a failure, or how to wait.
	Fix         string  `json:"fix,omitempty"`
	TookSeconds float64 `json:"took_seconds"`
}

const (
	checkPassed  = "passed"
	checkFailed  = "failed"
	checkSkipped = "skipped"
	checkWaiting = "waiting"
)

// checkCommand checks a running server from end to end.
func checkCommand() *cobra.Command {
	admin := adminclient.New("analytics")
	var asJSON bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Checks that a running Caddy collects, stores and analyses",
		Long: `
Asks a running Caddy over its admin API whether analytics works from end to end: modules
are loaded, sources are collected, pipelines are alive, the store can be written and read,
and a correlation can be computed. Prints each step; one that failed says what to do. Exits
with 1 when any has failed.

Right after a start the first collections are still to come, and it takes some thirty of
them before anything can be correlated: ten minutes at the default interval. Until then a
step is waiting, which is no failure. --wait gives them time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := checkUntil(cmd.Context(), admin, wait)
			if err != nil {
				return err
			}
			if err := r.print(cmd.OutOrStdout(), asJSON); err != nil {
				return err
			}
			if n := r.count(checkFailed); n > 0 {
				cmd.SilenceUsage = true
				return fmt.Errorf("%d of %d steps failed", n, len(r.Steps))
			}
			return nil
		},
	}
	admin.AddFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the steps as JSON")
	cmd.Flags().Var((*waitFlag)(&wait), "wait", "Try again for so long, such as 1m, until no step has failed or is waiting")
	return cmd
}

// waitFlag is a duration as Caddy writes them.
type waitFlag time.Duration

// Set implements pflag.Value.
func (d *waitFlag) Set(s string) error {
	v, err := caddy.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration such as 30s or 5m", s)
	}
	*d = waitFlag(v)
	return nil
}

// String implements pflag.Value.
func (d *waitFlag) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Type implements pflag.Value.
func (*waitFlag) Type() string { return "duration" }

// checkPause is between two tries.
const checkPause = time.Second

// checkUntil checks until no step has failed or waits, or the time is over.
func checkUntil(ctx context.Context, admin *adminclient.Client, wait time.Duration) (CheckReport, error) {
	for deadline := time.Now().Add(wait); ; {
		c := checker{ask: func(uri string, v any) error { return admin.Get(ctx, uri, v) }}
		r := c.run()
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if r.OK && r.count(checkWaiting) == 0 || !time.Now().Before(deadline) {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(min(checkPause, time.Until(deadline))):
		}
	}
}

func (r *CheckReport) count(state string) (n int) {
	for _, s := range r.Steps {
		if s.State == state {
			n++
		}
	}
	return n
}

func (r *CheckReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	for _, s := range r.Steps {
		line := fmt.Sprintf("%-8s %s", s.State, s.Name)
		if s.Detail != "" {
			line += ": " + s.Detail
		}
		if _, err := fmt.Fprintln(w, terminal.Printable(line)); err != nil {
			return err
		}
		if s.Fix != "" {
			if _, err := fmt.Fprintln(w, terminal.Printable("         → "+s.Fix)); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "%d passed, %d failed, %d waiting, %d skipped\n",
		r.count(checkPassed), r.count(checkFailed), r.count(checkWaiting), r.count(checkSkipped))
	return err
}
