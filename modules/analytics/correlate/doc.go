// Package correlate finds which operational signals move together, which of two
// comes first and by how much, and says how sure that is.
//
// Correlating such signals as they come finds almost everything: for two
// independent random walks of 600 samples a t-test at 5 % is wrong nine times in
// ten, and two signals that merely share a day are always "related". So each
// series is first made white, by itself, in this order:
//
//  1. A regular grid with gaps kept as gaps, counters as rates (package window).
//  2. Outliers pulled in to 6 robust standard deviations; in a series that mostly stands
//     still, to 3 times the usual size of a change.
//  3. Trend and seasons out: spectral lines and their harmonics, and what folding
//     at a period shows, fitted at the instants samples were really taken.
//  4. An autoregression out, its order chosen by AICc, gaps bridged by the Kalman
//     filter: what remains are innovations, which the past did not foretell.
//  5. A local scale out, and the rest replaced by normal scores.
//
// Then pairs are tested. Cross-correlations of white series are independent over
// lags (Haugh 1976); they are read plainly and through the filters that undo
// whitening of differently coloured signals (see crossCorrelator.test). The
// p-value uses the effective number of samples by Bartlett's formula,
// 1/N* = 1/N + (2/N) Σ ((N−j)/N) ρx(j) ρy(j), checked against correlations at lags
// far outside the range; it is corrected for having taken the best of all lags,
// and Benjamini and Hochberg's procedure turns the p-values of all pairs into
// q-values.
//
// A positive lag means that y follows x. Everything found is an association;
// nothing here says what causes what. That there is not enough data is a result,
// with its reason, and never an error.
//
// [Prepare] whitens a [window.Frame] once; [Analysis.Lagged] tests all pairs or one
// target against all others, [Analysis.Pair] one pair, [Analysis.Matrix] gives the
// correlations at lag 0, and [Live] keeps that matrix current from sample to
// sample. [Trends] and [Compare] are about one signal each. [ReadCSV] and the
// writers of [Result] are the same engine for a file.
//
// Memory: a prepared series takes 12.2 bytes a cell and about 1 KB; 1,000 series of
// 1,000 cells take 13 MB. A result of all their 499,500 pairs takes 24 MB.
package correlate
