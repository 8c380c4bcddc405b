package lbpro

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	// demoBar is the length of the bar of a share of 100 %, demoWide the width of a
	// terminal from which on it is twice that.
	demoBar  = 10
	demoWide = 110
)

// frame draws everything. On a terminal of few rows fewer of the events are shown, so that
// the addresses are.
func (v *demoView) frame(color bool, width, height int) []string {
	paint := func(c ...cell) string { return table{c}.lines(color, width)[0] }
	load := fmt.Sprintf("%.0f requests/s", v.o.rate)
	if v.o.stock {
		load += " to each side"
	}
	lines := []string{
		paint(styled("Load Balancer Pro", bold), left(v.clock()), left(load), styled("Ctrl-C ends it", dim)),
		"",
		paint(v.headline()),
		"",
	}
	lines = append(lines, v.clients().lines(color, width)...)
	lines = append(lines, "")
	lines = append(lines, v.backends(width).lines(color, width)...)
	lines = append(lines, "")
	below := []string{"", paint(styled("from another terminal:", dim))}
	for _, a := range v.addresses(width) {
		below = append(below, paint(left(a)))
	}
	rows := demoNews
	if height > 0 {
		rows = min(max(height-len(lines)-len(below), 1), rows)
	}
	news := v.news[max(0, len(v.news)-rows):]
	for i := range rows {
		text := ""
		if i < len(news) {
			text = news[i]
		}
		lines = append(lines, paint(left(text)))
	}
	return append(lines, below...)
}

// addresses are what to look at while it runs: several in a row where all of them fit.
func (v *demoView) addresses(width int) []string {
	admin := v.world.admin
	rows := [][]string{
		{"caddy lbpro status --why --address " + admin},
		{"curl http://" + v.world.sides[0].addr + "/", "curl http://" + admin + "/metrics"},
	}
	if api := v.world.api; api != "" {
		rows = append(rows,
			[]string{"caddy analytics check --address " + admin},
			[]string{"curl http://" + api + "/api/stats", "curl http://" + api + "/api/analytics/summary", "curl http://" + api + "/api/analytics/correlation"},
		)
	}
	const indent, between = "  ", "       "
	var lines []string
	for _, row := range rows {
		whole := strings.Join(row, between)
		if width > 0 && len(indent)+len(whole) > width {
			for _, one := range row {
				lines = append(lines, indent+one)
			}
			continue
		}
		lines = append(lines, indent+whole)
	}
	return lines
}

// headline says what goes wrong now.
func (v *demoView) headline() cell {
	act, on, left := v.play.now(v.now)
	if on {
		return styled(fmt.Sprintf("● backend %s %s (for another %.0f s)", demoVictim, act.text, left.Seconds()), red)
	}
	return styled(fmt.Sprintf("● all backends are well (in %.0f s %s %s)", left.Seconds(), demoVictim, act.text), green)
}

// clients is the table of what the clients of each side see.
func (v *demoView) clients() table {
	t := table{{
		styled("CLIENTS OF", dim), styledR("REQUESTS", dim), styledR("FAILED", dim), styledR("SUCCESS", dim), styledR("LAST 10 s", dim),
		styledR("P99", dim), styled("P99, EACH SECOND", dim),
	}}
	for _, s := range v.world.sides {
		c := s.crowd.seen()
		last := time.Duration(0)
		if n := len(c.p99); n > 0 {
			last = c.p99[n-1]
		}
		recent := portion(c.recentGood, c.recentSent)
		t = append(t, []cell{
			styled(s.name, bold), right(strconv.FormatInt(c.sent, 10)), right(strconv.FormatInt(c.sent-c.good, 10)),
			successCell(portion(c.good, c.sent)), successCell(recent), right(human(last)), styled(sparkline(c.p99, 40), cyan),
		})
	}
	return t
}

func successCell(x float64) cell {
	s := green
	switch {
	case x < 0.99:
		s = red
	case x < 0.9999:
		s = yellow
	}
	return styledR(percent(x), s)
}

// sparkline draws the last n durations on a logarithmic scale from 50 ms to crowdPatience.
func sparkline(ds []time.Duration, n int) string {
	const least = 50 * time.Millisecond
	levels := []rune("▁▂▃▄▅▆▇█")
	var s strings.Builder
	for _, d := range ds[max(0, len(ds)-n):] {
		x := math.Log(float64(max(d, least))/float64(least)) / math.Log(float64(crowdPatience)/float64(least))
		s.WriteRune(levels[min(max(int(x*float64(len(levels))), 0), len(levels)-1)])
	}
	return s.String()
}

// backends is the table of the balancer's backends.
func (v *demoView) backends(width int) table {
	length := demoBar
	if width >= demoWide {
		length *= 2
	}
	t := table{{
		styled("BACKEND", dim), styled("STATE", dim), styledR("REQ/S", dim), styled("SHARE", dim), styledR("", dim), styledR("IN FLIGHT", dim),
		styledR("P50", dim), styledR("P99", dim), styledR("FAILED", dim), styledR("HEALTH", dim), styled("WHY", dim),
	}}
	d := dating{v.pool.At, v.now}
	for i := range v.pool.backends {
		b := &v.pool.backends[i]
		r := newBackendResource(b, d)
		rate, part := v.flow(b.ID)
		failed := int64(0)
		for _, n := range b.totals.failures {
			failed += n
		}
		why := r.remark(v.now)
		if why == "" {
			why = fmt.Sprintf("score %.2f", b.Score.Value)
			if b.Score.Equal {
				why += " ← the next request"
			}
		}
		name := styled(v.names[b.ID], bold)
		t = append(t, []cell{
			name, r.stateCell(), right(fmt.Sprintf("%.0f", rate)), styled(bar(part, length), cyan), right(fmt.Sprintf("%.0f %%", 100*part)),
			right(strconv.FormatInt(b.InFlight, 10)), right(human(b.rates.P50)), right(human(b.rates.P99)),
			right(strconv.FormatInt(failed, 10)), r.healthCell(), left(why),
		})
	}
	return t
}

// bar draws a share from 0 to 1, which is length, in eighths of a column.
func bar(x float64, length int) string {
	eighths := []rune(" ▏▎▍▌▋▊▉")
	n := int(x*float64(length)*8 + 0.5)
	s := strings.Repeat("█", n/8)
	if n%8 > 0 {
		s += string(eighths[n%8])
	}
	return s + strings.Repeat(" ", max(0, length-len([]rune(s))))
}
