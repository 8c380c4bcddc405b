package correlate

import "fmt"

// Method is what is correlated once two series are white.
type Method uint8

const (
	// NormalScores correlates normal scores of the innovations. It loses nothing
	// against Pearson where those are Gaussian and gains wherever they are not
	// (Chernoff and Savage 1958), and heavy tails do not disturb its p-value.
	NormalScores Method = iota
	// Pearson correlates the innovations themselves.
	Pearson
	// Spearman correlates their ranks.
	Spearman
)

func (m Method) String() string {
	switch m {
	case Pearson:
		return "pearson"
	case Spearman:
		return "spearman"
	}
	return "normal-scores"
}

// ParseMethod reads what String writes.
func ParseMethod(s string) (Method, error) {
	for _, m := range []Method{NormalScores, Pearson, Spearman} {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("correlation method %q: take normal-scores, pearson or spearman", s)
}
