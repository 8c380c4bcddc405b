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
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/adminclient"
	"github.com/caddy-lbpro/caddy-lbpro/internal/terminal"
)

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
		name := e.Name
		if e.Organization != "" {
			name += " " + e.Organization
		}
		bar := strings.Repeat("#", int(20*e.Share/max(largest, 1e-9)+0.5))
		r.add(name, octets(float64(e.Octets)), octets(float64(e.ErrorOctets)), fmt.Sprintf("%.1f %%", 100*e.Share), octets(e.PerSecond)+"/s", bar)
	}
	return r.w.Flush()
}
