package lbpro

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// demoView turns what goes on into lines. One goroutine uses it.
type demoView struct {
	o     demoOptions
	world *demoWorld
	play  *demoPlay
	began time.Time
	names map[string]string // backends' names by address

	now    time.Time
	pool   poolFigures
	past   []demoSample // of the last demoSpan, oldest first
	states map[string]balance.State
	news   []string // what happened, newest last
	told   int      // of these, how many report has printed
	newest int64    // how many there have ever been
}

// demoSample has the requests that each backend was sent, at one moment.
type demoSample struct {
	at   time.Time
	sent map[string]int64
}

const (
	// demoSpan is the time over which rates and shares are shown.
	demoSpan = 2 * time.Second
	// demoNews is how many events are kept.
	demoNews = 8
	// demoBar is the length of the bar of a share of 100 %, demoWide the width of a
	// terminal from which on it is twice that.
	demoBar  = 10
	demoWide = 110
)

func newDemoView(o demoOptions, w *demoWorld, p *demoPlay, began time.Time) *demoView {
	v := &demoView{o: o, world: w, play: p, began: began, names: make(map[string]string), states: make(map[string]balance.State)}
	for _, b := range w.sides[0].cluster.Backends() {
		v.names[b.Addr()] = b.Name()
	}
	return v
}

// look takes in how things stand.
func (v *demoView) look(now time.Time) {
	v.now = now
	p, err := findPool(demoPool)
	if err != nil {
		return // Caddy is being stopped
	}
	v.pool = p.figures(clock())
	sample := demoSample{now, make(map[string]int64)}
	for i := range v.pool.backends {
		b := &v.pool.backends[i]
		sample.sent[b.ID] = b.totals.requests
		v.follow(b)
	}
	v.past = append(v.past, sample)
	for len(v.past) > 2 && now.Sub(v.past[1].at) >= demoSpan {
		v.past = v.past[1:]
	}
}

// follow notes changes of a backend's state.
func (v *demoView) follow(b *backendFigures) {
	was, known := v.states[b.ID]
	v.states[b.ID] = b.State
	if !known || was == b.State {
		return
	}
	text := v.names[b.ID] + " "
	switch b.State {
	case balance.Ejected:
		text += "ejected: " + b.Detail
	case balance.HalfOpen:
		text += "is given one request, to see whether it is back"
	case balance.Serving:
		text += "restored; its share grows in a slow start"
	default:
		text += b.State.String()
	}
	v.news = append(v.news, v.clock()+"  "+text)
	v.newest++
	if len(v.news) > demoNews {
		v.news = v.news[1:]
	}
}

// clock returns the time since the beginning, as 01:23.
func (v *demoView) clock() string {
	s := int(v.now.Sub(v.began).Seconds())
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// flow returns the requests a second that a backend has been sent lately, and its share.
func (v *demoView) flow(id string) (perSecond, part float64) {
	first, last := v.past[0], v.past[len(v.past)-1]
	span := last.at.Sub(first.at).Seconds()
	if span <= 0 {
		return 0, 0
	}
	all := int64(0)
	for k, n := range last.sent {
		all += n - first.sent[k]
	}
	own := last.sent[id] - first.sent[id]
	if all == 0 {
		return 0, 0
	}
	return float64(own) / span, float64(own) / float64(all)
}

// frame draws everything.
func (v *demoView) frame(color bool, width int) []string {
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
	for i := range demoNews {
		text := ""
		if i < len(v.news) {
			text = v.news[i]
		}
		lines = append(lines, paint(left(text)))
	}
	lines = append(lines, "", paint(styled("from another terminal:", dim)))
	for _, a := range v.addresses() {
		lines = append(lines, paint(left("  "+a)))
	}
	return lines
}

// addresses are what to look at while it runs.
func (v *demoView) addresses() []string {
	admin := v.world.admin
	lines := []string{
		"caddy lbpro status --why --address " + admin,
		"curl http://" + v.world.sides[0].addr + "/       curl http://" + admin + "/metrics",
	}
	if api := v.world.api; api != "" {
		lines = append(lines,
			"caddy analytics check --address "+admin,
			"curl http://"+api+"/api/stats       curl http://"+api+"/api/analytics/summary       curl http://"+api+"/api/analytics/correlation",
		)
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

// report is what is printed now and then where there is no terminal.
func (v *demoView) report() []string {
	lines := v.news[len(v.news)-int(min(v.newest-int64(v.told), int64(len(v.news)))):]
	v.told = int(v.newest)
	act, on, _ := v.play.now(v.now)
	text := "all backends are well"
	if on {
		text = demoVictim + " " + act.text
	}
	row := fmt.Sprintf("%s  %s", v.clock(), text)
	for _, s := range v.world.sides {
		c := s.crowd.seen()
		row += fmt.Sprintf("  | %s: %d requests, success %s, last 10 s %s", s.name, c.sent, percent(portion(c.good, c.sent)), percent(portion(c.recentGood, c.recentSent)))
		if n := len(c.p99); n > 0 {
			row += ", p99 " + human(c.p99[n-1])
		}
	}
	row += "  |"
	for i := range v.pool.backends {
		b := &v.pool.backends[i]
		rate, _ := v.flow(b.ID)
		row += fmt.Sprintf("  %s %s %.0f/s", v.names[b.ID], b.State, rate)
	}
	return append(append([]string(nil), lines...), row)
}

// summary says what came of it.
func (v *demoView) summary() []string {
	v.now = time.Now()
	lines := []string{"After " + v.clock() + ":"}
	for _, s := range v.world.sides {
		c := s.crowd.seen()
		lines = append(lines, fmt.Sprintf("  %-13s  %d requests, %d failed, success %s; p99 of a typical second %s, of the worst %s",
			s.name, c.sent, c.sent-c.good, percent(portion(c.good, c.sent)), human(c.typical), human(c.worst)))
	}
	return lines
}
