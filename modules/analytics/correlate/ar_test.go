package correlate

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

func TestAutoregressionCovarianceIsTheModels(t *testing.T) {
	m := autoregression{phi: []float64{1.5, -.8}, sigma2: 2}
	cov := m.autocovariance()
	// Yule–Walker for AR(2).
	rho1 := 1.5 / 1.8
	g0 := 2 / (1 - 1.5*rho1 + .8*(1.5*rho1-.8))
	for i, want := range []float64{g0, g0 * rho1, g0 * (1.5*rho1 - .8)} {
		if math.Abs(cov[i]-want) > 1e-9 {
			t.Errorf("lag %d: %v, want %v", i, cov[i], want)
		}
	}
}

func TestAutoregressionIsFoundDespiteGaps(t *testing.T) {
	for _, phi := range [][]float64{{.7}, {-.7}, {.95}, {1.5, -.8}, {.5, -.3, .4}} {
		for _, miss := range []float64{0, .2, .5} {
			rng := rand.New(rand.NewPCG(1, 1))
			x := autoregressive(phi...)(rng, 4000)
			punch(rng, x, miss)
			m := fitAutoregression(x, 0, 10)
			for j, want := range phi {
				if len(m.phi) < len(phi) || math.Abs(m.phi[j]-want) > .08 {
					t.Errorf("%v with %v missing: %v", phi, miss, m.phi)
					break
				}
			}
			u := m.innovations(x)
			z, _ := transform(u, Pearson)
			for k, r := range autocorrelation(z, window.MaskOf(u), 5) {
				if math.Abs(r) > .08 {
					t.Errorf("%v with %v missing: innovations correlate %.3f at lag %d", phi, miss, r, k+1)
				}
			}
			v := 0.0
			n := 0.0
			for _, e := range u {
				if e == e {
					v += e * e
					n++
				}
			}
			if math.Abs(v/n-1) > .08 {
				t.Errorf("%v with %v missing: innovations have variance %.3f", phi, miss, v/n)
			}
		}
	}
}
