package balance

// TwoChoices is the power of two random choices: draw two backends in proportion to
// weight and take the one with fewer requests in flight per weight, the first drawn when
// they are equal. Looking at two instead of all keeps several balancers from herding onto
// the same backend (Mitzenmacher, "The Power of Two Choices in Randomized Load
// Balancing", 1996), and the worst of the pool still gets its share of pairs: when half
// the pool is slow, a quarter of requests see two slow ones. O(1).
type TwoChoices struct{}

// Pick implements [Picker].
func (TwoChoices) Pick(list []*Backend, c *Choice) int { return lesser(list, c, perWeight) }
