package balance

import "math"

// A backend that was deployed wrongly answers 4xx to what the others can answer, and does
// so at once: it is always free, and a balancer that goes by that gives it most of the
// requests. A 4xx is usually the client's doing, so it is no failure and nothing is ejected
// for it. But requests for which there is a choice are spread over the backends without
// regard to who asks, so all should decline about as many of them; one that declines far
// more is asked less.

const (
	// declinePrior is how many answers that were not declined count as seen.
	declinePrior = 4
	// declineLeast is the excess over the others below which nothing is concluded.
	declineLeast = 0.2
	// declineMost bounds what an excess makes of the cost, so that the backend is still
	// asked now and then.
	declineMost = 0.95
)

// declines is the decayed share of 4xx answers, with declinePrior.
func (e *estimate) declines() float64 { return e.declined / (e.all + declinePrior) }

// declinesMore returns how much more than the usual share the backend declines, beyond two
// standard errors: 0 or declineLeast to declineMost.
func (e *estimate) declinesMore(usual float64) float64 {
	share := e.declines()
	n := e.all + declinePrior
	excess := share - usual - 2*math.Sqrt(share*(1-share)/n)
	if excess < declineLeast {
		return 0
	}
	return min(excess, declineMost)
}
