package analytics

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/terminal"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// correlateFlags are the options of `caddy analytics correlate`.
type correlateFlags struct {
	target, control, method string
	maxLag, maxSeries       int
	step, level             float64
	json, all, noHeader     bool
}

// correlateCommand finds what goes with what in a file.
func correlateCommand() *cobra.Command {
	var f correlateFlags
	cmd := &cobra.Command{
		Use:   "correlate FILE.csv [--target COLUMN] [--control COLUMN] [--max-lag N] [--json] [--all]",
		Short: "Finds which columns of a CSV file move together, and at what lag",
		Long: `
Reads a wide CSV file (- for the standard input) and tests every pair of its columns,
or one target against all others, for moving together at any lag up to the largest.
The first column is called time and has Unix seconds or RFC 3339 times; every other
one is a series; an empty cell is a gap. Cells may be separated by semicolons or
tabs as well. Columns that can only be counters become
rates.

	time,requests,latency
	2026-03-01T00:00:00Z,120,0.031
	2026-03-01T00:00:10Z,,0.034

Trend, season and memory are taken out first, for two signals that each have them
nearly always seem related. A line is printed for each significant pair, surest first:

	x y lag_seconds r rho p q n n_eff

A positive lag means that y follows x. r and rho are Pearson's and Spearman's
correlation at that lag, p is corrected for having searched the lags, and q for having
asked about so many pairs: of the pairs printed, about one in twenty may be chance.
n_eff is how many independent samples tell as much as the n there are. What is found is
associated; what causes what, no correlation says. The notes go to the standard
error.`,
		Example: `  caddy analytics correlate metrics.csv --target latency --control requests`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return f.run(cmd, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.target, "target", "t", "", "Test this column, as y, against all others instead of all pairs")
	flags.StringVarP(&f.control, "control", "c", "", "Take the influence of this column, such as the request rate, out of all others first")
	flags.IntVarP(&f.maxLag, "max-lag", "l", correlate.DefaultMaxLag, "Largest lag each way, in steps of the file; by default no more than a quarter of the rows, and never more than half")
	flags.IntVar(&f.maxSeries, "max-series", correlate.DefaultMaxSeries, "Look at no more columns than this; those that vary and have the fewest gaps first")
	flags.Float64Var(&f.step, "step", 0, "Seconds between two samples (default what the times show)")
	flags.Float64Var(&f.level, "level", correlate.DefaultLevel, "Share of false pairs among those found that is put up with")
	flags.StringVar(&f.method, "method", correlate.NormalScores.String(), "What is correlated: normal-scores, pearson or spearman")
	flags.BoolVarP(&f.json, "json", "j", false, "Print one JSON object with a summary and the pairs")
	flags.BoolVarP(&f.all, "all", "a", false, "Print every pair, significant or not")
	flags.BoolVar(&f.noHeader, "no-header", false, "Leave out the line of column names")
	return cmd
}

// check refuses what makes no sense, in the words of the command line.
func (f *correlateFlags) check(cmd *cobra.Command) error {
	switch {
	case f.maxLag < 0 || f.maxLag > correlate.MostMaxLag:
		return fmt.Errorf("--max-lag %d: a number of steps, 0 to %d", f.maxLag, correlate.MostMaxLag)
	case f.maxSeries < 2 || f.maxSeries > correlate.MostMaxSeries:
		return fmt.Errorf("--max-series %d: a number of columns, 2 to %d", f.maxSeries, correlate.MostMaxSeries)
	case !(f.level > 0 && f.level < 1):
		return fmt.Errorf("--level %g: a share between 0 and 1, such as %g", f.level, correlate.DefaultLevel)
	case cmd.Flags().Changed("step") && !(f.step > 0 && f.step <= maxStep):
		return fmt.Errorf("--step %g: seconds above 0, such as 15", f.step)
	case f.target != "" && f.target == f.control:
		return fmt.Errorf("--target and --control are both %q; of itself nothing is left without itself", f.target)
	}
	switch {
	case !cmd.Flags().Changed("max-lag"):
		f.maxLag = 0 // the engine's default, which the window may bound
	case f.maxLag == 0:
		f.maxLag = correlate.LagZero
	}
	return nil
}

// maxStep is the largest --step, in seconds: about a year.
const maxStep = 366 * 86400

// columnsKnown refuses a --target or --control that the file does not have.
func (f *correlateFlags) columnsKnown(frame *window.Frame) error {
	for _, o := range []struct{ flag, name string }{{"target", f.target}, {"control", f.control}} {
		if o.name == "" || frame.Index(o.name) >= 0 {
			continue
		}
		const shown = 5
		names := frame.Names()
		more := ""
		if len(names) > shown {
			names, more = names[:shown], ", …"
		}
		return fmt.Errorf("--%s: no column is called %q; there are %s%s", o.flag, o.name, quoteAll(names), more)
	}
	return nil
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return strings.Join(quoted, ", ")
}

func (f *correlateFlags) run(cmd *cobra.Command, file string) error {
	method, err := correlate.ParseMethod(f.method)
	if err != nil {
		return fmt.Errorf("--method: %w", err)
	}
	bar := terminal.NewProgress(cmd.ErrOrStderr())
	defer bar.Clear()
	bar.Say("reading the file")
	frame, notes, err := readCSV(cmd, file, f.step)
	if err != nil {
		return err
	}
	if err := f.columnsKnown(frame); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if most := frame.Grid.N / 2; f.maxLag > most {
		notes = append(notes, fmt.Sprintf("lags up to %d steps were searched, half of the %d there are, not %d", most, frame.Grid.N, f.maxLag))
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	bar.Phase("taking season and memory out")
	analysis, err := correlate.Prepare(ctx, frame, correlate.Options{
		MaxLag: f.maxLag, MaxSeries: f.maxSeries, Level: f.level, Method: method,
		Target: f.target, Control: f.control, Progress: bar.Step,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	bar.Phase("comparing")
	result, err := analysis.Lagged(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	bar.Clear()
	pairs := result.Significant()
	if f.all {
		pairs = result.All()
	}
	summary := result.Summary(notes...)
	if f.json {
		return correlate.WriteJSON(cmd.OutOrStdout(), summary, pairs)
	}
	explain(cmd.ErrOrStderr(), summary)
	return correlate.WriteText(cmd.OutOrStdout(), pairs, !f.noHeader)
}

// readCSV reads a file, or the standard input.
func readCSV(cmd *cobra.Command, file string, step float64) (*window.Frame, []string, error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the measurements: %w", err)
		}
		defer f.Close()
		in = f
	}
	frame, notes, err := correlate.ReadCSV(in, correlate.CSVOptions{StepSeconds: step})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return frame, notes, nil
}

// maxLeftOutShown bounds the names of series left out that are printed.
const maxLeftOutShown = 10

// explain says in words what the lines cannot.
func explain(w io.Writer, s correlate.Summary) {
	for _, note := range s.Notes {
		fmt.Fprintf(w, "%s\n", note)
	}
	for i, l := range s.LeftOut {
		if i == maxLeftOutShown {
			fmt.Fprintf(w, "and %d more left out\n", len(s.LeftOut)-i)
			break
		}
		fmt.Fprintf(w, "%q left out: %s\n", l.Name, l.Reason)
	}
	switch {
	case s.Pairs == 0:
		fmt.Fprintln(w, "nothing to correlate: a pair takes two columns")
	case s.Tests == 0:
		fmt.Fprintf(w, "not enough data: none of %d pairs could be tested; a column needs %d samples that vary\n", s.Pairs, correlate.MinSamples)
	case s.Significant == 0:
		fmt.Fprintf(w, "none of %d pairs is significant at a false discovery rate of %g\n", s.Tests, s.Level)
	default:
		fmt.Fprintf(w, "%d of %d pairs are significant at a false discovery rate of %g\n", s.Significant, s.Tests, s.Level)
	}
}
