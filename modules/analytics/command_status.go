package analytics

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/adminclient"
	"github.com/caddy-lbpro/caddy-lbpro/internal/terminal"
)

// statusCommand shows the engine of a running Caddy.
func statusCommand() *cobra.Command {
	admin := adminclient.New("analytics")
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Shows the analytics of a running Caddy",
		Long: `
Shows what state the Analytics Engine of a running Caddy is in: the steps of its start,
sources, pipelines, the store, and what is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return admin.Print(cmd.Context(), cmd.OutOrStdout(), "/analytics/status")
			}
			var r StatusReport
			if err := admin.Get(cmd.Context(), "/analytics/status", &r); err != nil {
				return err
			}
			return r.print(cmd.OutOrStdout(), time.Now())
		},
	}
	admin.AddFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print what the admin API says")
	return cmd
}

// print writes the report for people.
func (r *StatusReport) print(out io.Writer, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		for i, c := range cells {
			cells[i] = terminal.Printable(c)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	row("analytics is " + r.State + shortSince(r.Since, now))
	for _, p := range r.Problems {
		row("  ! " + p)
	}
	var open []string
	for _, s := range r.Steps {
		if s.State != done && s.State != skipped {
			open = append(open, s.Name+" "+s.State)
		}
	}
	if len(open) > 0 {
		row("start: " + strings.Join(open, ", "))
	}
	row()
	row("SOURCE", "STATE", "EVERY", "LAST", "TOOK", "SAMPLES", "ERRORS", "")
	for _, s := range r.Sources {
		row(s.Name, s.State, shortSeconds(s.IntervalSeconds), shortAgo(s.LastRun, now), shortSeconds(s.TookSeconds), humanize.Comma(int64(s.Samples)), humanize.Comma(int64(s.Errors)), s.LastError)
	}
	row()
	row("PIPELINE", "STATE", "EVERY", "LAST", "TOOK", "SIGNALS", "SERIES", "ERRORS", "")
	for _, p := range r.Pipelines {
		name := p.Name
		if len(p.Joins) > 0 {
			name += " (" + strings.Join(p.Joins, " × ") + ")"
		}
		row(name, p.State, shortSeconds(p.IntervalSeconds), shortAgo(p.LastRun, now), shortSeconds(p.TookSeconds), fmt.Sprint(p.Signals), fmt.Sprint(p.Series), humanize.Comma(int64(p.Errors)), p.LastError)
	}
	row()
	if s := r.Store; s == nil {
		row("store: not open")
	} else {
		state := "ok"
		if !s.OK {
			state = "cannot be written: " + s.Problem
		}
		row(fmt.Sprintf("store: %s, %s, %s series, %s", s.Kind, state, humanize.Comma(int64(s.Series)), humanize.IBytes(uint64(max(s.Bytes, 0)))) + shortReach(s.Oldest, now) + shortPlace(s.Location))
		if s.OK && s.Problem != "" {
			row("  " + s.Problem)
		}
		for _, n := range s.Notes {
			row("  " + n)
		}
	}
	row(fmt.Sprintf("windows: %d series, %d points, %s", r.Windows.Series, r.Windows.Points, humanize.IBytes(uint64(max(r.Windows.Bytes, 0)))))
	row(fmt.Sprintf("analyses: every %s, last %s, took %s", shortSeconds(r.Analyses.IntervalSeconds), shortAgo(r.Analyses.LastRun, now), shortSeconds(r.Analyses.TookSeconds)))
	row(fmt.Sprintf("dropped: %d samples, %d series without a place, %d analyses", r.Dropped.Samples, r.Dropped.SeriesLeftOut, r.Dropped.Analyses))
	var versions []string
	for name, v := range r.Versions {
		versions = append(versions, name+" "+v)
	}
	slices.Sort(versions)
	row("versions: " + strings.Join(versions, ", "))
	return w.Flush()
}

// shortSeconds writes a duration in three digits.
func shortSeconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	for _, unit := range []time.Duration{time.Minute, time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}

func shortAgo(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return max(now.Sub(t), 0).Round(100*time.Millisecond).String() + " ago"
}

func shortSince(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + t.UTC().Format(time.RFC3339) + " (" + max(now.Sub(t), 0).Round(time.Second).String() + ")"
}

func shortReach(oldest, now time.Time) string {
	if oldest.IsZero() {
		return ""
	}
	return ", back to " + max(now.Sub(oldest), 0).Round(time.Second).String() + " ago"
}

func shortPlace(l string) string {
	if l == "" {
		return ""
	}
	return ", " + l
}
