//go:build race

package flowmaster

const raceEnabled = true
