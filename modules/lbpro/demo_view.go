package lbpro

import (
	"fmt"
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
