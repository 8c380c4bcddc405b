package balance

import (
	"cmp"
	"math"
	"slices"
	"time"
)

const (
	// silentGaps is how many usual gaps between answers, each the mean plus four mean
	// deviations, a backend must let pass to be silent; silentFloor is the least time.
	silentGaps  = 2
	silentFloor = 15 * time.Millisecond
	// soundLeast, soundMost and soundGrowth (percent of the silence so far) space the
	// requests that see whether a silent backend is back.
	soundLeast, soundMost = 20 * time.Millisecond, 2 * time.Second
	soundGrowth           = 100
	// laggard is how many times slower than the pool's median a backend must be for
	// overdue requests on it to be tried elsewhere.
	laggard = 3
	// mostPatience is how many times the mean a probe is left alone at a slow backend.
	mostPatience = 5
	// hedgeScan bounds how many waiting requests one tick looks at on one backend.
	hedgeScan = 1024
	// lateTick: a tick later than this means that this process itself was held up, so
	// nothing is concluded from the silence of others.
	lateTick = 4
)

// Tick takes in what happened since the last call and publishes what follows from it.
// every is the interval at which the caller means to call it. Cost: O(backends + samples).
func (p *Pool) Tick(now, every time.Duration) {
	if !p.tickMu.TryLock() {
		return
	}
	o := p.Options()
	all := p.Backends()
	held := p.ticked != 0 && now-p.ticked > lateTick*every
	p.ticked = now

	declining := false
	for _, b := range all {
		b.mu.Lock()
		p.drainSamples(b, o, now)
		declining = declining || b.est.declines() > declineLeast
		b.mu.Unlock()
	}
	p.endOutage(all, now)
	median := p.median(all, 1, speedOf)
	p.judge(all, o, now, median)
	if !held {
		p.listen(all, o, now)
	}
	if !held && p.Active() > 0 {
		for _, b := range all {
			p.recheck(b, o.Hedge, now, median)
		}
	}
	p.width = p.median(all, 1, widthOf)
	if p.declines = 0; declining { // else nobody stands out, and it is not worth a sort
		p.declines = p.median(all, 0, declinesOf)
	}
	for _, b := range all {
		p.publish(b, o, now, median)
	}
	p.countWanted(all)
	p.census.take(all, now)
	p.panicCheck(all, o)
	if o.Hedge && !held {
		p.findHedges(all, now, median)
	}
	events, hedges := p.events, p.hedges
	p.events, p.hedges = nil, p.hedges[:0]
	for i := range hedges {
		hedges[i].of.StartHedge(hedges[i].reason)
		hedges[i].of = nil
	}
	p.tickMu.Unlock()
	for _, e := range events {
		if p.OnEvent != nil {
			p.OnEvent(e)
		}
	}
	p.Queue.tick(all, now)
}

// drainSamples feeds the estimates with what the request path left behind.
// b.mu and p.tickMu are held.
func (p *Pool) drainSamples(b *Backend, o Options, now time.Duration) {
	b.health.roll(now, o.Eject.Window)
	p.scratch = p.scratch[:0]
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		from := max(s.drained, s.written-min(s.written, ringSize))
		for ; from < s.written; from++ {
			p.scratch = append(p.scratch, s.ring[from%ringSize])
		}
		s.drained = s.written
		s.mu.Unlock()
	}
	if len(p.scratch) == 0 {
		return
	}
	if len(b.shards) > 1 {
		slices.SortFunc(p.scratch, func(x, y sample) int { return cmp.Compare(x.at, y.at) })
	}
	for i := range p.scratch {
		s := &p.scratch[i]
		switch {
		case s.outcome == Outrun:
			b.est.outrun(s, p.relative(s))
			continue
		case s.part == partRest:
			p.answered(b, s)
			continue
		}
		b.est.outcome(s)
		if s.outcome != Declined && s.part != partNone {
			b.latency.observe(s, p.mean)
		}
		b.est.gapSample(s.at, s.at-s.took)
		b.health.add(s.outcome.Failed())
		if s.probe {
			p.probed(b, s, o, now)
		}
		if s.outcome != Success || s.part == partNone {
			continue
		}
		if s.part == partWhole {
			p.answered(b, s)
		}
		p.routes.learn(s.route, s.took)
		p.meanN++
		p.mean += max(1.0/256, 1/float64(p.meanN)) * (s.took.Seconds() - p.mean)
	}
}

// answered takes in a whole answer. The speed is of all that the backend was waited for:
// one that sends headers at once and the rest late is slow, too.
func (p *Pool) answered(b *Backend, s *sample) {
	relative := p.relative(s)
	b.est.answer(s, relative)
	if relative > 0 {
		b.health.slowN++
		b.health.slowSum += relative / crowding(float64(s.load), b.est.width)
	}
	p.routes.learnRest(s.route, s.rest)
	p.restN++
	p.rest += max(1.0/256, 1/float64(p.restN)) * (s.rest.Seconds() - p.rest)
}

// relative returns a sample's time over what such a request usually takes.
func (p *Pool) relative(s *sample) float64 {
	want := p.routes.expect(s.route).whole
	if want == 0 {
		want = p.mean + p.rest
	}
	if want == 0 {
		return 1
	}
	return (s.took + s.rest).Seconds() / want
}

// publish writes a backend's cost, width and weight for the pickers.
func (p *Pool) publish(b *Backend, o Options, now time.Duration, median float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.resting.Load() && now >= b.restUntil {
		b.resting.Store(false)
	}
	e := &b.est
	e.fit(now, p.width)
	e.decay(now)
	cost, width := median, e.room()
	if e.seen > 0 {
		cost = e.apart(median)
		if b.waiting.Load() == 0 && cost > median {
			// Nobody has asked it lately: what was slow may be well again. One
			// request at a time finds out, so its width counts as 1 until then.
			k := math.Exp(-float64(now-e.last) / float64(e.patience()))
			cost = median + (cost-median)*k
			if k < 0.7 {
				width = 1
			}
		}
	}
	if first, ok := b.oldest(); ok {
		// What the oldest request has suffered so far is a sample in the making.
		if want := p.mean + p.rest; want > 0 {
			cost = max(cost, (now-first).Seconds()/want/4*b.overdueShare(p, now))
		}
	}
	sr := e.success() * (1 - e.declinesMore(p.declines))
	storeFloat(&b.cost, max(cost, 1e-6)/(sr*sr))
	storeFloat(&b.width, width)
	b.latency.publish(p, now, sr, b.waiting.Load() == 0)
	b.publishWeightLocked(o, now)
}

// countWanted tells the request path how many backends want a probe.
func (p *Pool) countWanted(all []*Backend) {
	n := int32(0)
	for _, b := range all {
		if b.wanted.Load() {
			n++
		}
	}
	p.wanted.Store(n)
}

// overdueShare is 1 when the oldest waiting request is of a kind known to take less time
// than it has waited, else 0: a request that is merely long says nothing.
func (b *Backend) overdueShare(p *Pool, now time.Duration) float64 {
	share := 0.0
	b.eachWaiting(1, func(a *Attempt) {
		if x := p.routes.expect(a.Route); x.evidence > 0 && (now-a.sent).Seconds() > x.mean {
			share = 1
		}
	})
	return share
}
