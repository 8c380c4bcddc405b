package flowmaster

import (
	"math"
)

// Health is how packets fare on the way to one backend.
type Health struct {
	Backend string `json:"backend"`
	// Score is 1 for a good path, down to 0.
	Score float64 `json:"score"`
	// RTTInflation is the mean of round-trip time over the least one to the same address
	// in the last five to ten minutes.
	RTTInflation float64 `json:"rtt_inflation"`
	// RetransRatio is the share of segments that were sent again.
	RetransRatio     float64 `json:"retrans_ratio"`
	ConnectFailRatio float64 `json:"connect_fail_ratio"`
	// Samples is from how many readings this comes, WindowSeconds how far back they go.
	Samples       int `json:"samples"`
	WindowSeconds int `json:"window_seconds"`
	// Shared says that most paths are bad together: the cause is not this one, and all
	// count as good.
	Shared bool `json:"shared,omitempty"`
	// AgeSeconds is how old this is.
	AgeSeconds float64 `json:"age_seconds"`
}

// add adds what another second brought.
func (s *pathSecond) add(o *pathSecond) {
	s.samples += o.samples
	s.rtts += o.rtts
	s.segments += o.segments
	s.again += o.again
	s.inflation += o.inflation
	s.tamed += o.tamed
	s.tamedSquare += o.tamedSquare
	s.connects += o.connects
	s.failures += o.failures
}

// loss returns what the losses make of the score, when sure standard errors are given to
// the path. Counting events has an error of about their root.
func (s *pathSecond) loss(sure float64) float64 {
	if s.again < minRetrans {
		return 1
	}
	ratio := (float64(s.again) - sure*math.Sqrt(float64(s.again))) / float64(s.segments)
	if ratio <= goodRetrans {
		return 1
	}
	return math.Sqrt(goodRetrans / ratio)
}

// queue returns what the round-trip times make of the score, when sure standard errors of
// their mean are given to the path.
func (s *pathSecond) queue(sure float64) float64 {
	if s.rtts == 0 {
		return 1
	}
	n := float64(s.rtts)
	x := s.tamed / n
	x -= sure * math.Sqrt(max(0, s.tamedSquare/n-x*x)/n)
	if x <= goodInflation {
		return 1
	}
	return goodInflation / x
}

// lossy and queued say whether a single second is bad by itself.
func (s *pathSecond) lossy() bool {
	return s.again >= 2 && float64(s.again) > goodRetrans*float64(s.segments)
}

func (s *pathSecond) queued() bool {
	return s.rtts > 0 && s.tamed > goodInflation*float64(s.rtts)
}

// recent returns the score by the last few seconds alone; 1 if they do not suffice.
func (p *path) recent(now int64) float64 {
	var sum pathSecond
	lossy, queued := 0, 0
	for ago := range int64(pathRecent) {
		s := &p.seconds[(now-ago)%pathMemory]
		if s.at != now-ago {
			continue
		}
		sum.add(s)
		if s.lossy() {
			lossy++
		}
		if s.queued() {
			queued++
		}
	}
	score := 1.0
	if sum.samples < pathMinSamples {
		return score
	}
	if lossy >= pathRecentBad {
		score *= sum.loss(recentSure)
	}
	if queued >= pathRecentBad && sum.rtts >= pathMinSamples {
		score *= sum.queue(recentSure)
	}
	return score
}

// judge returns what the readings up to now tell, with the score that they alone give.
func (p *path) judge(now int64) (h Health, score float64) {
	var sum pathSecond
	queued := 0
	p.mu.Lock()
	for ago := int64(0); ago < pathMemory; ago++ {
		if ago >= pathWindow && sum.samples >= pathMinSamples {
			break
		}
		h.WindowSeconds = int(ago) + 1
		if s := &p.seconds[(now-ago)%pathMemory]; s.at == now-ago {
			sum.add(s)
			if s.queued() {
				queued++
			}
		}
	}
	recent := p.recent(now)
	p.mu.Unlock()
	h.Samples = int(sum.samples)
	score = sum.loss(1)
	if queued >= pathRecentBad { // a single second with most of the readings is no queue that stands
		score *= sum.queue(0)
	}
	if sum.segments > 0 {
		h.RetransRatio = float64(sum.again) / float64(sum.segments)
	}
	if sum.rtts > 0 {
		h.RTTInflation = sum.inflation / float64(sum.rtts)
	}
	score = min(score, recent)
	if sum.connects > 0 {
		h.ConnectFailRatio = float64(sum.failures) / float64(sum.connects)
		if sum.failures >= minConnectFailures {
			score *= 1 - h.ConnectFailRatio
		}
	}
	return h, max(0, score)
}

// settle moves the score in force towards what the readings tell: down fast, up slowly,
// and not at all for a single bad second.
func (p *path) settle(score float64) float64 {
	if p.score == 0 {
		p.score = 1
	}
	switch {
	case score >= badScore:
		p.bad = 0
	default:
		p.bad++
	}
	switch {
	case p.bad >= 2:
		p.worse = true
	case score > goodScore:
		p.worse = false
	}
	target := 1.0
	if p.worse {
		target = score
	}
	if target < p.score {
		p.score += (target - p.score) * 0.75
	} else {
		p.score = min(target, p.score+max(0.1*(target-p.score), 0.05))
	}
	p.score = max(p.score, 0.01)
	return p.score
}
