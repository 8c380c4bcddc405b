package correlate

import (
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// leastSquares returns x less its projection on cols, over the cells where x is
// not NaN, and the coefficients of the projection. Where the columns do not
// determine these, one of the best solutions is taken. It uses the cols as
// scratch space. O(n·k²) for k columns.
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
