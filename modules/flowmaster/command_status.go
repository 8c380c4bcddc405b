package flowmaster

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/adminclient"
	"github.com/caddy-lbpro/caddy-lbpro/internal/terminal"
)

// rows writes a table for people; what it shows came from elsewhere and is made safe.
type rows struct{ w *tabwriter.Writer }

func newRows(out io.Writer) rows { return rows{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)} }

func (r rows) add(cells ...string) {
	safe := make([]string, len(cells))
	for i, c := range cells {
		safe[i] = terminal.Printable(c)
	}
	fmt.Fprintln(r.w, strings.TrimRight(strings.Join(safe, "\t"), "\t"))
}

// gap ends a table: the next has widths of its own.
func (r rows) gap() error {
	err := r.w.Flush()
	fmt.Fprintln(r.w)
	return err
}

func count(n uint64) string { return humanize.Comma(int64(min(n, 1<<62))) }

func octets(n float64) string { return humanize.IBytes(uint64(max(n, 0))) }

// statusCommand shows what Network Flow Master of a running Caddy does.
func statusCommand() *cobra.Command {
	admin := adminclient.New("flowmaster")
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Shows the flows of a running Caddy",
		Long: `
Shows what Network Flow Master of a running Caddy carries and receives, what it sends on,
and what was lost or turned away on the way.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return admin.Print(cmd.Context(), cmd.OutOrStdout(), "/flowmaster/status")
			}
			var st statusResource
			if err := admin.Get(cmd.Context(), "/flowmaster/status", &st); err != nil {
				return err
			}
			var sum summaryResource
			if err := admin.Get(cmd.Context(), "/flowmaster/summary", &sum); err != nil {
				return err
			}
			return printStatus(cmd.OutOrStdout(), &st, &sum)
		},
	}
	admin.AddFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print what the admin API says")
	return cmd
}

func printStatus(out io.Writer, st *statusResource, sum *summaryResource) error {
	r := newRows(out)
	kept := st.Addresses
	if kept == addressesMask {
		kept = fmt.Sprintf("kept to /%d and /%d", st.MaskIPv4, st.MaskIPv6)
	}
	r.add(fmt.Sprintf("%s of %s flows active, %s evicted, %s; addresses %s", count(uint64(st.Flows.Flows)), count(uint64(st.Flows.FlowsLimit)),
		count(st.Flows.Evicted), octets(float64(st.Flows.MemoryBytes)), kept))
	r.add(fmt.Sprintf("last minute: about %s clients", count(sum.Clients)))
	if err := r.gap(); err != nil {
		return err
	}
	r.add("LEG", "RECORDS", "FLOWS", "DATA", "RATE", "SINCE START")
	for _, leg := range []string{"downstream", "upstream", "observed"} {
		now, all := sum.Legs[leg], st.Totals[leg]
		r.add(leg, count(now.Records), count(now.Totals.Flows), octets(float64(now.Octets)+float64(now.ReverseOctets)),
			octets(now.OctetsPerSecond)+"/s", octets(float64(all.Octets)+float64(all.ReverseOctets)))
	}
	if len(st.Collectors) > 0 {
		if err := r.gap(); err != nil {
			return err
		}
		r.add("COLLECTOR", "ADDRESS", "BUFFER", "DATAGRAMS", "RECORDS", "KERNEL DROPS")
		for _, c := range st.Collectors {
			for _, s := range c.Sockets {
				r.add(c.Protocol, s.Address, octets(float64(s.ReceiveBuffer)), count(s.Datagrams), count(s.Records), count(s.KernelDrops))
			}
		}
		if err := r.gap(); err != nil {
			return err
		}
		r.add("EXPORTER", "DATAGRAMS", "RECORDS", "DROPPED", "GAPS", "NO TEMPLATE", "ERRORS", "KERNEL DROPS")
		for _, e := range st.Received {
			r.add(e.Exporter, count(e.Datagrams), count(e.Records), count(e.Dropped), count(e.SequenceGaps), count(e.TemplateMissing),
				count(e.DecodeErrors), count(e.KernelDrops))
		}
	}
	if len(st.Exports) > 0 {
		if err := r.gap(); err != nil {
			return err
		}
		r.add("EXPORT TO", "STATE", "QUEUED", "RECORDS", "MESSAGES", "DROPPED", "ERRORS")
		for _, e := range st.Exports {
			state := "connected"
			if !e.Connected {
				state = "not connected"
			}
			r.add(e.To, state, count(uint64(e.Queued)), count(e.Records), count(e.Messages), count(e.Dropped), count(e.Errors))
		}
	}
	return r.w.Flush()
}

// topCommand shows who sends and receives most.
func topCommand() *cobra.Command {
	admin := adminclient.New("flowmaster")
	var asJSON, watch bool
	by, window, limit := "client_prefix", "1m", 20
	interval := 2 * time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Shows what moves the most data in a running Caddy",
		Long: `
Shows the clients, networks, backends, ports or exporters with the most data of the last
minute, ten minutes or hour. Figures are upper bounds; ERROR is by how much they can be
too high.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			uri := "/flowmaster/top?" + url.Values{"by": {by}, "window": {window}, "limit": {strconv.Itoa(limit)}}.Encode()
			show := func(ctx context.Context, out io.Writer) error {
				if asJSON {
					return admin.Print(ctx, out, uri)
				}
				var t topResource
				if err := admin.Get(ctx, uri, &t); err != nil {
					return err
				}
				return printTop(out, &t)
			}
			out := cmd.OutOrStdout()
			if !watch {
				return show(cmd.Context(), out)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return repeat(ctx, out, max(interval, 100*time.Millisecond), show)
		},
	}
	admin.AddFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&by, "by", by, "client_prefix, client_as, client_country, backend, service_port or exporter")
	f.StringVar(&window, "window", window, "1m, 10m or 1h")
	f.IntVar(&limit, "limit", limit, "How many to show")
	f.BoolVar(&asJSON, "json", false, "Print what the admin API says")
	f.BoolVarP(&watch, "watch", "w", false, "Show it again and again until Ctrl-C")
	f.DurationVar(&interval, "interval", interval, "How often to do so")
	return cmd
}

// repeat shows something again and again, in place on a terminal, until ctx ends, which is
// no error.
func repeat(ctx context.Context, out io.Writer, interval time.Duration, show func(context.Context, io.Writer) error) error {
	live := terminal.Is(out)
	if live {
		fmt.Fprint(out, "\x1b[?1049h\x1b[?25l")
		defer fmt.Fprint(out, "\x1b[?25h\x1b[?1049l")
	}
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		var frame strings.Builder
		err := show(ctx, &frame)
		if ctx.Err() != nil {
			return nil // its user has seen enough
		}
		if err != nil {
			return err
		}
		text := frame.String()
		if live {
			text = "\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\r\n") + "\x1b[J"
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func printTop(out io.Writer, t *topResource) error {
	r := newRows(out)
	r.add(fmt.Sprintf("by %s, %s to %s, %s in all", t.By, t.From.Format(time.TimeOnly), t.To.Format(time.TimeOnly), octets(float64(t.TotalOctets))))
	if len(t.Top) == 0 {
		r.add("nothing in this time")
		return r.w.Flush()
	}
	if err := r.gap(); err != nil {
		return err
	}
	r.add(strings.ToUpper(strings.ReplaceAll(t.By, "_", " ")), "DATA", "ERROR", "SHARE", "RATE", "")
	largest := slices.MaxFunc(t.Top, func(a, b topEntry) int { return int(1e6 * (a.Share - b.Share)) }).Share
	for _, e := range t.Top {
		bar := strings.Repeat("#", int(20*e.Share/max(largest, 1e-9)+0.5))
		r.add(e.Name, octets(float64(e.Octets)), octets(float64(e.ErrorOctets)), fmt.Sprintf("%.1f %%", 100*e.Share), octets(e.PerSecond)+"/s", bar)
	}
	return r.w.Flush()
}
