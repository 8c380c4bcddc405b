package correlate

import (
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// leastSquares returns x less its projection on cols, over the cells where x is
// not NaN, and the coefficients of the projection. Where the columns do not
// determine these, one of the best solutions is taken. It uses the cols as
// scratch space. O(n·k²) for k columns; O(n·k) for many columns that are nearly
// orthogonal, as those of a season with edges are.
func leastSquares(x []float64, cols [][]float64) (residual, beta []float64) {
	k := len(cols)
	residual = slices.Clone(x)
	y := slices.Clone(x)
	for i, v := range x {
		if v != v {
			y[i] = 0
			for _, c := range cols {
				c[i] = 0
			}
		}
	}
	if k > manyColumns {
		if beta, ok := conjugateGradients(y, cols); ok {
			for a := range cols {
				floats.AddScaled(residual, -beta[a], cols[a])
			}
			return residual, beta
		}
	}
	gram, rhs := mat.NewSymDense(k, nil), mat.NewVecDense(k, nil)
	for a := range cols {
		rhs.SetVec(a, floats.Dot(cols[a], y))
		for b := a; b < k; b++ {
			gram.SetSym(a, b, floats.Dot(cols[a], cols[b]))
		}
	}
	// Two lines closer than the window resolves make the system singular; a ridge
	// far below the noise picks one of the equal answers.
	for a := range k {
		gram.SetSym(a, a, gram.At(a, a)*(1+1e-9)+1e-300)
	}
	beta = make([]float64, k)
	var chol mat.Cholesky
	if !chol.Factorize(gram) {
		return residual, beta
	}
	solution := mat.NewVecDense(k, beta)
	if err := chol.SolveVecTo(solution, rhs); err != nil {
		// Only ever a warning about the condition, which the ridge has bounded.
		_ = err
	}
	for a := range cols {
		floats.AddScaled(residual, -beta[a], cols[a])
	}
	return residual, beta
}

const (
	// manyColumns is from where solving by steps is quicker than the normal equations.
	manyColumns = 60
	// gradientSteps bounds the steps. Columns that need more are far from orthogonal.
	gradientSteps = 60
	// gradientLeft is how small the gradient has to become, of what it was.
	gradientLeft = 1e-10
)

// conjugateGradients solves the least squares by conjugate gradients on the normal
// equations (CGLS; Hestenes and Stiefel 1952, Björck 1996), O(n·k) a step. It
// reports whether it came to an end.
func conjugateGradients(y []float64, cols [][]float64) (beta []float64, ok bool) {
	k := len(cols)
	beta = make([]float64, k)
	gradient, direction := make([]float64, k), make([]float64, k)
	rest, step := slices.Clone(y), make([]float64, len(y))
	slope := func() float64 {
		for a, c := range cols {
			gradient[a] = floats.Dot(c, rest)
		}
		return floats.Dot(gradient, gradient)
	}
	now := slope()
	copy(direction, gradient)
	enough := now * gradientLeft * gradientLeft
	for range gradientSteps {
		if now <= enough {
			return beta, true
		}
		clear(step)
		for a, c := range cols {
			floats.AddScaled(step, direction[a], c)
		}
		size := floats.Dot(step, step)
		if size == 0 {
			return beta, false
		}
		floats.AddScaled(beta, now/size, direction)
		floats.AddScaled(rest, -now/size, step)
		last := now
		now = slope()
		floats.AddScaledTo(direction, gradient, now/last, direction)
	}
	return beta, now <= enough
}
