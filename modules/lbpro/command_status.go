package lbpro

import (
	"context"
	"encoding/json"
	"fmt"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/adminclient"
)

// durationFlag is a duration as Caddy writes them, such as 90s or 1d.
type durationFlag time.Duration

// Set implements pflag.Value.
func (d *durationFlag) Set(s string) error {
	v, err := caddy.ParseDuration(s)
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is no duration such as 30s or 5m", s)
	}
	*d = durationFlag(v)
	return nil
}

// String implements pflag.Value.
func (d *durationFlag) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Type implements pflag.Value.
func (*durationFlag) Type() string { return "duration" }

// poolList is the answer of GET /lbpro/pools.
type poolList struct {
	Pools []poolResource `json:"pools"`
}

// statusCommand shows the pools of a running Caddy.
func statusCommand() *cobra.Command {
	admin := adminclient.New("lbpro")
	var asJSON, watch, why bool
	interval := durationFlag(time.Second)
	cmd := &cobra.Command{
		Use:   "status [POOL]",
		Short: "Shows the pools of a running Caddy",
		Long: `
Shows the pools of a running Caddy and their backends: what state they are in and
why, and the figures of the last minute.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask := func(ctx context.Context) (poolList, error) {
				var list poolList
				err := admin.Get(ctx, "/lbpro/pools", &list)
				if err != nil || len(args) == 0 {
					return list, err
				}
				return list.only(args[0])
			}
			s := newScreen(cmd.OutOrStdout())
			show := func(list poolList) error {
				if asJSON {
					enc := json.NewEncoder(s.out)
					if !watch {
						enc.SetIndent("", "  ")
					}
					return enc.Encode(list)
				}
				width, _ := s.size()
				lines := list.lines(s.color, width, why, time.Now())
				if watch {
					s.draw(lines)
					return nil
				}
				_, err := fmt.Fprintln(s.out, strings.Join(lines, "\n"))
				return err
			}
			list, err := ask(cmd.Context())
			if err != nil {
				return err
			}
			if !watch {
				return show(list)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if !asJSON {
				s.open()
				defer s.close()
			}
			return every(ctx, time.Duration(interval), func() error {
				if err := show(list); err != nil {
					return err
				}
				list, err = ask(ctx)
				return err
			})
		},
	}
	admin.AddFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print what the admin API says")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "Show it again and again until Ctrl-C")
	cmd.Flags().Var(&interval, "interval", "How often to do so")
	cmd.Flags().BoolVar(&why, "why", false, "Also say how the present score of each backend comes about")
	return cmd
}

// every calls f at once and then at the interval, until it fails or ctx ends, which is no
// error.
func every(ctx context.Context, interval time.Duration, f func() error) error {
	t := time.NewTicker(max(interval, 50*time.Millisecond))
	defer t.Stop()
	for {
		err := f()
		if ctx.Err() != nil {
			return nil // its user has seen enough
		}
		if err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// only returns the list with just the named pool.
func (l poolList) only(name string) (poolList, error) {
	names := make([]string, len(l.Pools))
	for i, p := range l.Pools {
		if p.Name == name {
			return poolList{l.Pools[i : i+1]}, nil
		}
		names[i] = p.Name
	}
	return poolList{}, fmt.Errorf("no pool %q: %s", name, choices("pool", names))
}

// lines renders the pools for people.
func (l poolList) lines(color bool, width int, why bool, now time.Time) []string {
	if len(l.Pools) == 0 {
		return []string{"no pools: this Caddy has no handler lbpro in its configuration"}
	}
	var lines []string
	for i := range l.Pools {
		p := &l.Pools[i]
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, p.headline(color, width))
		t := table{{
			styled("BACKEND", dim), styled("STATE", dim), styledR("SINCE", dim), styledR("REQ/S", dim), styledR("SHARE", dim),
			styledR("IN FLIGHT", dim), styledR("P50", dim), styledR("P99", dim), styledR("ERRORS", dim), styledR("HEALTH", dim),
			styledR("WEIGHT", dim), styled("REASON", dim),
		}}
		for k := range p.Backends {
			t = append(t, p.Backends[k].row(now))
		}
		lines = append(lines, t.lines(color, width)...)
		if why {
			for _, b := range p.Backends {
				lines = append(lines, table{{styled(b.ID, bold), left(b.Why)}}.lines(color, 0)...)
			}
		}
	}
	return lines
}

// headline sums a pool up.
func (p *poolResource) headline(color bool, width int) string {
	m := &p.LastMinute
	row := []cell{
		styled(p.Name, bold),
		left(fmt.Sprintf("%d of %d serving", p.Serving, len(p.Backends))),
		left(fmt.Sprintf("%.4g req/s", m.PerSecond)),
		left("success " + percent(m.SuccessRate)),
		left("mean " + human(span64(m.Average))),
		left("p99 " + human(span64(m.P99))),
		left(fmt.Sprintf("active %d", p.Active)),
	}
	if p.Queue.Length > 0 {
		row = append(row, styled(fmt.Sprintf("queued %d", p.Queue.Length), yellow))
	}
	if p.Panic {
		row = append(row, styled("PANIC: ejected backends are used too", red))
	}
	if p.Outage {
		row = append(row, styled("OUTAGE: no backend answers", red))
	}
	return table{row}.lines(color, width)[0]
}

// row is the backend's line of the table.
func (b *backendResource) row(now time.Time) []cell {
	return []cell{
		left(b.ID), b.stateCell(), right(human(max(now.Sub(b.Since), time.Millisecond))),
		right(fmt.Sprintf("%.4g", b.LastMinute.PerSecond)), right(percent(b.Share)), right(strconv.FormatInt(b.InFlight, 10)),
		right(human(span64(b.LastMinute.P50))), right(human(span64(b.LastMinute.P99))),
		errorCell(b.LastMinute.ErrorRate), b.healthCell(), right(fmt.Sprintf("%.3g", b.Weight.Effective)),
		left(b.remark(now)),
	}
}

func (b *backendResource) stateCell() cell {
	switch {
	case b.State == "serving" && b.Silent > 0:
		return styled("silent", yellow)
	case b.State == "serving":
		return styled(b.State, green)
	case b.State == "ejected":
		return styled(b.State, red)
	}
	return styled(b.State, yellow)
}

func (b *backendResource) healthCell() cell {
	s := green
	switch {
	case b.Health.Score < 50:
		s = red
	case b.Health.Score < 90:
		s = yellow
	}
	return styledR(strconv.Itoa(b.Health.Score), s)
}

func errorCell(rate float64) cell {
	if rate > 0 {
		return styledR(percent(rate), yellow)
	}
	return right(percent(rate))
}

// remark says what is out of the ordinary, nothing when nothing is.
func (b *backendResource) remark(now time.Time) string {
	switch {
	case b.State != "serving":
		text := b.Detail
		if text == "" {
			text = b.Reason
		}
		if b.Until != nil && b.Until.After(now) {
			text += "; back in " + human(b.Until.Sub(now))
		}
		return text
	case b.Silent > 0 || b.Rest != nil || b.Weight.Effective == 0:
		return b.Why
	case b.Health.Success < 0.9:
		return fmt.Sprintf("%s of the latest requests failed", percent(1-b.Score.SuccessRate))
	case b.Health.Latency < 0.9:
		return fmt.Sprintf("slow: requests take %.2g times as long as usual", b.Score.Speed)
	case b.Weight.SlowStart < 1:
		return fmt.Sprintf("slow start at %.0f %%", b.Weight.SlowStart*100)
	case b.Weight.Path < 1:
		return fmt.Sprintf("path health %.2g", b.Weight.Path)
	case b.Backup:
		return "backup"
	}
	return ""
}

// span64 turns seconds into a duration, nil into 0.
func span64(s *float64) time.Duration {
	if s == nil {
		return 0
	}
	return time.Duration(*s * float64(time.Second))
}
