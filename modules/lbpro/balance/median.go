package balance

import "slices"

// median returns the lower median of a figure over the serving backends that have it, or
// none where nobody has: what is usual in the pool, which a few that stand out do not move.
// With two backends the smaller figure is the measure. of is called with Backend.mu held;
// p.tickMu is held.
func (p *Pool) median(all []*Backend, none float64, of func(*Backend) (x float64, has bool)) float64 {
	p.figures = p.figures[:0]
	for _, b := range all {
		b.mu.Lock()
		if x, has := of(b); has && b.State() == Serving {
			p.figures = append(p.figures, x)
		}
		b.mu.Unlock()
	}
	if len(p.figures) == 0 {
		return none
	}
	slices.Sort(p.figures)
	return p.figures[(len(p.figures)-1)/2]
}

func speedOf(b *Backend) (float64, bool)    { return b.est.speed, b.est.seen > 0 }
func widthOf(b *Backend) (float64, bool)    { return b.Width(), true }
func declinesOf(b *Backend) (float64, bool) { return b.est.declines(), b.est.all >= 1 }
