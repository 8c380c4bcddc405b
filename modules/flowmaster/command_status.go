package flowmaster

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
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
		count(st.Flows.Evicted), octets(float64(st.MemoryBytes)), kept))
	r.add("last minute: about " + count(sum.Clients) + " " + english.PluralWord(int(sum.Clients), "client", ""))
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
	if len(st.GeoIP) > 0 {
		if err := r.gap(); err != nil {
			return err
		}
		r.add("DATABASE OF ADDRESSES", "TYPE", "BUILT", "NETWORKS", "PROBLEM")
		for _, g := range st.GeoIP {
			r.add(g.File, g.Type, g.Built.Format(time.DateOnly), count(uint64(g.Networks)), cmp.Or(g.Error, "none"))
		}
	}
	return r.w.Flush()
}
