package correlate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

func TestBenjaminiHochberg(t *testing.T) {
	// The example of the 1995 paper: of 15 p-values four are discoveries at 5 %.
	p := []float64{.0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344, .0459, .3240, .4262, .5719, .6528, .7590, 1}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	q := BenjaminiHochberg(p, len(p))
	found := 0
	for i := range p {
		if q[i] <= .05 {
			found++
			if p[i] > .0095 {
				t.Errorf("p %v is a discovery", p[i])
			}
		}
		for j := range p {
			if p[i] < p[j] && q[i] > q[j] {
				t.Errorf("q does not follow p: %v %v", p[i], p[j])
			}
		}
	}
	if found != 4 {
		t.Errorf("%d discoveries", found)
	}
	if q := BenjaminiHochberg([]float64{.01}, 100); q[0] != 1 {
		t.Errorf("one of a hundred: %v", q)
	}
	if len(BenjaminiHochberg(nil, 0)) != 0 {
		t.Error("none")
	}
}

func TestTails(t *testing.T) {
	// t of 10 degrees of freedom: P(|T| > 2.228) = .05.
	r := 2.228 / math.Sqrt(10+2.228*2.228)
	if p := correlationTail(r, 10); math.Abs(p-.05) > 1e-4 {
		t.Errorf("t: %v", p)
	}
	for _, z := range []float64{.1, 1, 3, 6, 8, 12, 30} {
		p := math.Erfc(z / math.Sqrt2)
		if got := normalBound(p); math.Abs(got-z) > 1e-3*z {
			t.Errorf("normal bound of %v: %v, want %v", p, got, z)
		}
	}
	if correlationTail(1, 10) != 0 || correlationTail(0, 10) != 1 || correlationTail(.5, 0) != 1 || correlationTail(math.NaN(), 9) != 1 {
		t.Error("ends")
	}
	// Both of two normals of correlation ½ above 1.5, either sign: by sampling.
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 400000
	for _, rho := range []float64{0, .3, .7, .95, 1} {
		both := 0
		for range n {
			a := rng.NormFloat64()
			b := rho*a + math.Sqrt(1-rho*rho)*rng.NormFloat64()
			if math.Abs(a) > 1.5 && math.Abs(b) > 1.5 {
				both++
			}
		}
		want := float64(both) / n
		if got := bothTail(1.5, math.Erfc(1.5/math.Sqrt2), rho); math.Abs(got-want) > 2e-3 {
			t.Errorf("rho %v: %v, want %v", rho, got, want)
		}
	}
}

// TestMaximumOverLags compares the correction with maxima that were drawn.
func TestMaximumOverLags(t *testing.T) {
	const lags, repeats = 61, 4000
	for name, phi := range map[string][2][]float64{
		"no memory": {nil, nil}, "one has memory": {nil, {.9}}, "both": {{.5}, {.9}}, "a cycle": {{1.5, -.8}, nil},
	} {
		rng := rand.New(rand.NewPCG(3, 4)) // the same in any order of the cases
		g1, g2 := template(nil, phi[1], phi[0]), template(nil, phi[0], phi[1])
		tops := make([]float64, repeats)
		for k := range tops {
			z := make([]float64, lags+2*templateTaps)
			for i := range z {
				z[i] = rng.NormFloat64()
			}
			for i := templateTaps; i < templateTaps+lags; i++ {
				tops[k] = max(tops[k], math.Abs(z[i]), math.Abs(gather(z, g1, i, 1)), math.Abs(gather(z, g2, i, -1)))
			}
		}
		slices.Sort(tops)
		top := tops[repeats*95/100] // exceeded in 5 %
		p := math.Erfc(top / math.Sqrt2)
		if name == "no memory" {
			g1, g2 = nil, nil
		}
		if got := maxTail(p, lags, g1, g2); got < .04 || got > .065 {
			t.Errorf("%s: %v, want .05", name, got)
		}
	}
}

// TestSparseTail compares the tail for sparse scores with random pairings.
func TestSparseTail(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const n, repeats = 400, 40000
	x, y := &whitened{n: n}, &whitened{n: n}
	for k, w := range []*whitened{x, y} {
		z := make([]float64, n)
		for i := range 20 + 10*k {
			z[i] = 1
		}
		standardise(z)
		w.mask = window.NewMask(n)
		for i := range n {
			w.mask.Set(i)
		}
		w.finish(z)
	}
	b := slices.Clone(y.z)
	sums := make([]float64, repeats)
	for k := range sums {
		rng.Shuffle(n, func(i, j int) { b[i], b[j] = b[j], b[i] })
		for i, v := range x.z {
			sums[k] += float64(v) * float64(b[i])
		}
		sums[k] = math.Abs(sums[k]) / math.Sqrt(n)
	}
	slices.Sort(sums)
	for _, share := range []float64{.05, .01, .001} {
		z := sums[int(repeats*(1-share))]
		if p := scoreTail(z, n, x, y); p < share/3 || p > 3.5*share {
			t.Errorf("%v is exceeded in %v, told %v", z, share, p)
		}
	}
}

// TestSmallChancesStayApart has p-values far below rounding keep their order.
func TestSmallChancesStayApart(t *testing.T) {
	g1, g2 := template(nil, []float64{.9}, nil), template(nil, nil, []float64{.9})
	last := 0.0
	for e := -300; e <= -2; e++ {
		p := maxTail(math.Pow(10, float64(e)), 121, g1, g2)
		if !(p > last) || p > 1 {
			t.Fatalf("1e%d becomes %g, after %g", e, p, last)
		}
		last = p
	}
}
