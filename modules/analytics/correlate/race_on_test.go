//go:build race

package correlate

const raceDetector = true
