//go:build race

package store_test

// raceEnabled shortens what repeats a lot.
const raceEnabled = true
