//go:build !linux

package flowmaster

import "runtime"

// readHost says that there is nothing to read here.
func readHost(*Host) HostReport {
	return HostReport{Note: "counters of the host are read on Linux only, not on " + runtime.GOOS}
}
