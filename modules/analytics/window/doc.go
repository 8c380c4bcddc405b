// Package window keeps signals on one regular time grid.
//
// Statistics that compare two signals need both at the same instants. A [Grid]
// names those instants, a [Mask] says in which of them a sample was really
// seen, and a [Frame] is a set of [Signal]s that share one grid. Nothing is
// ever filled in: a cell without a sample is a gap and stays one.
//
// [Window] is the live form: a bounded ring per signal, fed as samples
// arrive and copied out as a Frame. [Align] is the offline form, for samples at
// irregular or jittered instants; [EstimateStep] finds the step they were meant
// to have. [Rates] turns counters, resets included, into rates.
//
// Memory: a Window holds 8 bytes a cell, NaN for a gap, so 8 bytes × Points for
// each signal, plus about 160 bytes for the signal itself and its name. 1,000
// signals of 3,600 points are 29 MB.
package window
