package balance

// LeastRequest takes the backend with the fewest requests in flight per weight. Those
// that are equal, as all idle ones are, are drawn in proportion to weight.
//
// Up to 64 backends are all looked at, so the choice is the true minimum; of more,
// Choices are drawn in proportion to weight. Envoy's policy of the same name draws two;
// more of them avoid the floor that two have when many backends are slow. Where Envoy
// schedules by weight/(active+1), this goes by active/weight, see [TwoChoices]. O(min(n, 64)).
type LeastRequest struct {
	// Choices is how many of a large pool are looked at. Default 8.
	Choices int
}

const leastRequestChoices = 8

// Pick implements [Picker].
func (l LeastRequest) Pick(list []*Backend, c *Choice) int {
	if len(list) > scanAll {
		return l.sample(list, c)
	}
	var t tally
	for i, b := range list {
		if c.Eligible(b) {
			t.add(i, perWeight(b), b.Weight())
		}
	}
	return t.draw(1)
}

func (l LeastRequest) sample(list []*Backend, c *Choice) int {
	n := l.Choices
	if n <= 0 {
		n = leastRequestChoices
	}
	chosen, least := -1, 0.0
	for range n {
		i := draw(list, c, -1)
		if i < 0 {
			return -1
		}
		if load := perWeight(list[i]); chosen < 0 || load < least {
			chosen, least = i, load
		}
	}
	return chosen
}
