package balance

import (
	"math"
	"time"
)

// estimate is what Tick knows of one backend's speed. Guarded by Backend.mu.
//
// The model is E[time | n in flight] = speed · max(1, n/width): a backend works on width
// requests at once and queues the rest. Latency is conditioned on the load that the
// request met, because unconditioned latency says "slow" of a backend that was merely
// given much (Wydrowski et al., "Load is not what you should balance: introducing
// Prequal", NSDI 2024). Times are relative to what the same kind of request takes in the
// pool, so that a backend is not called slow for having been sent the slow endpoint.
type estimate struct {
	speed    float64       // relative time at no load; 1 is the pool's average
	spread   float64       // mean absolute deviation of the samples from it
	weight   float64       // of the newest sample in both
	seen     uint64        // samples ever
	last     time.Duration // when the newest sample was taken
	doubt    time.Duration // how long a slow speed is believed that was confirmed
	hope     hope          // what speaks against it since
	ok, all  float64       // decayed counts of good and of all outcomes
	declined float64       // and of those that were 4xx
	counted  time.Duration // when these were last decayed

	answered time.Duration // last answer of any kind
	gap      float64       // seconds between answers while requests wait: mean
	gapDev   float64       // and mean deviation
	gaps     uint64

	levels [loadLevels]level
	fitted time.Duration
	width  float64
	usual  float64 // the speed over the last minute, following improvement at once
}

// level holds the samples that met a certain load.
type level struct{ n, load, sum float64 } // sum of ln(time over the usual speed)

const (
	loadLevels = 20
	// speedMemory and speedSamples bound the memory of the speed: the newest sample
	// weighs 1−e^(−Δt/speedMemory), and at least 1/speedSamples.
	speedMemory  = 3 * time.Second
	speedSamples = 50
	// widthMemory is how long a load level remembers; parallelism changes seldom.
	widthMemory = 20 * time.Second
	fitEvery    = 250 * time.Millisecond
	errorMemory = 5 * time.Second
	// widthDoubt is how much worse, in squared standard errors, a width may fit and still
	// be taken: then the smallest is, or the one nearest below the pool's median. Too small a width spreads requests evenly, which is safe; too
	// large a one piles them up, after which only large loads are seen and no fit can
	// tell that it is wrong.
	widthDoubt = 4
	// logVariance is the variance of the logarithm of an exponential time, π²/6.
	logVariance = 1.645
	// residualMost is how many times the expected time one sample may count for.
	residualMost = 8
	// usualRises is how slowly the usual speed follows a backend that has become slow.
	usualRises = time.Minute
	// newestMost is the most that one sample weighs, however long the pause before it: a
	// lucky one must not clear a slow backend.
	newestMost = 0.3
	// likeMedian is the most that a speed may differ from the median and pass for it.
	likeMedian = 0.3
	// luck is how many answers at the median speed the prior of a faster backend counts as.
	luck = 4
	// slowerNoise is how many times the usual speed is still usual.
	slowerNoise = 1.5
)

// widths are the parallelisms that the fit chooses from.
var widths = [...]float64{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256}

func (e *estimate) init(now time.Duration) {
	*e = estimate{speed: 1, width: 1, last: now, doubt: speedMemory, counted: now, answered: now, fitted: now}
}

// levelOf maps a load to its level: exact up to 12, then in powers of 1.5.
func levelOf(load int32) int {
	if load <= 12 {
		return int(max(load, 1)) - 1
	}
	return min(loadLevels-1, 12+int(math.Log(float64(load)/12)/math.Log(1.5)))
}

// crowding is how much longer a request takes with n in flight at a backend of width w:
// max(1, n/w), rounded off where the two meet because w is an estimate. Above the knee
// it never falls below n/w.
func crowding(n, w float64) float64 {
	x := n / w
	x *= x
	return math.Sqrt(math.Sqrt(1 + x*x))
}

// answer takes in one good answer: relative is its time over the expected one. What is
// left after speed and load is clipped, so that a pause, which says nothing about either,
// does not pass for a load that met its limit.
func (e *estimate) answer(s *sample, relative float64) {
	crowd := crowding(float64(s.load), e.width)
	x := min(relative/crowd, residualMost*e.speed)
	if e.slower() == 1 {
		l := &e.levels[levelOf(s.load)]
		l.n++
		l.load += float64(s.load)
		l.sum += math.Log(x * crowd / e.norm())
	}
	e.update(x, s.at)
}

// outrun takes in an attempt that was given up after the relative time because another
// backend answered first. To leave it out would count only the quick answers of a slow
// backend. It would have taken longer, by as much as any request takes if times are
// exponential; so its time plus the present estimate is the expected one.
func (e *estimate) outrun(s *sample, relative float64) {
	e.update(min(relative/crowding(float64(s.load), e.width)+e.speed, residualMost*e.speed), s.at)
}

func (e *estimate) update(x float64, at time.Duration) {
	e.seen++
	if e.believe(x, at) {
		return
	}
	a := max(1/float64(e.seen), 1.0/speedSamples,
		min(newestMost, -math.Expm1(-float64(at-e.last)/float64(speedMemory))))
	d := x - e.speed
	e.speed += a * d
	e.spread += a * (math.Abs(d) - e.spread)
	e.weight = a
	e.last = at
}

// apart returns the speed, or the pool's median when the two cannot be told apart: what
// lies within two standard errors, at most likeMedian of it, counts as equal, so that equal
// backends share equally however noisy their samples are. A backend that its first answers
// make fast is believed by and by: one that was quick by chance would be given every request
// until they pile up there. That it is slow is believed at once, which costs nothing.
func (e *estimate) apart(median float64) float64 {
	noise := 2 * 1.25 * e.spread * math.Sqrt(e.weight/(2-e.weight))
	switch {
	case math.Abs(e.speed-median) <= min(noise, likeMedian*median):
		return median
	case e.speed < median:
		return e.speed + (median-e.speed)*luck/(luck+float64(e.seen))
	}
	return e.speed
}

// slower returns how many times slower than usual the backend is now, beyond what is
// within the noise; at least 1.
func (e *estimate) slower() float64 {
	if e.usual == 0 {
		return 1
	}
	return max(1, e.speed/(slowerNoise*e.usual))
}

func (e *estimate) norm() float64 {
	if e.usual == 0 {
		return e.speed
	}
	return e.usual
}

// room returns the width to count on. While a backend is slower than usual one cannot
// tell a slow server from one that was given more than its width, so the width shrinks
// by as much: that is right in the second case and does no harm in the first.
func (e *estimate) room() float64 { return max(1, e.width/e.slower()) }

// outcome takes in how any attempt ended.
func (e *estimate) outcome(s *sample) {
	e.decay(s.at)
	e.all++
	if !s.outcome.Failed() {
		e.ok++
	}
	if s.outcome == Declined {
		e.declined++
	}
}

func (e *estimate) decay(now time.Duration) {
	if dt := now - e.counted; dt > 0 {
		k := math.Exp(-float64(dt) / float64(errorMemory))
		e.ok, e.all, e.declined, e.counted = e.ok*k, e.all*k, e.declined*k, now
	}
}

// success is the decayed success rate with one good answer as prior.
func (e *estimate) success() float64 { return (e.ok + 1) / (e.all + 1) }

// gapSample takes in an answer at the given time to a request that began at start.
func (e *estimate) gapSample(at, start time.Duration) {
	g := (at - max(e.answered, start)).Seconds()
	e.answered = max(e.answered, at)
	if g < 0 {
		return
	}
	e.gaps++
	a := max(1.0/64, 1/float64(e.gaps))
	d := g - e.gap
	e.gap += a * d
	e.gapDev += a * (math.Abs(d) - e.gapDev)
}

// fit follows the usual speed and chooses the width that explains the levels best: for
// every candidate the least squares of the logarithms, because times spread in proportion
// to their mean and a pause must not outweigh a hundred ordinary answers. O(1).
func (e *estimate) fit(now time.Duration, usual float64) {
	dt := now - e.fitted
	if dt < fitEvery {
		return
	}
	e.fitted = now
	if e.seen >= routeKnown {
		memory := usualRises
		if e.usual == 0 || e.speed < e.usual {
			memory = speedMemory
		}
		if e.usual == 0 {
			e.usual = e.speed
		}
		e.usual += -math.Expm1(-float64(dt)/float64(memory)) * (e.speed - e.usual)
	}
	k := math.Exp(-float64(dt) / float64(widthMemory))
	total := 0.0
	for i := range e.levels {
		l := &e.levels[i]
		l.n, l.load, l.sum = l.n*k, l.load*k, l.sum*k
		total += l.n
	}
	if total < 20 {
		return
	}
	best := math.Inf(1)
	var errs [len(widths)]float64
	for i, w := range widths {
		sum := 0.0
		for _, l := range e.levels {
			if l.n > 0.1 {
				sum += l.sum - l.n*math.Log(crowding(l.load/l.n, w))
			}
		}
		speed := sum / total // fitted along with the width
		for _, l := range e.levels {
			if l.n > 0.1 {
				d := l.sum/l.n - speed - math.Log(crowding(l.load/l.n, w))
				errs[i] += l.n * d * d / logVariance
			}
		}
		best = min(best, errs[i])
	}
	least, ok := 0.0, false
	for i, w := range widths {
		if errs[i] > best+widthDoubt {
			continue
		}
		if !ok {
			least, ok = w, true
		}
		if w <= usual {
			least = w // as good as any, and like the others
		}
	}
	e.width = least
}
