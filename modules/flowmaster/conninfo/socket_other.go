//go:build !linux

package conninfo

import (
	"fmt"
	"runtime"
)

// EachSocket says that sockets cannot be listed here.
func (*Reader) EachSocket(States, int, func(*Socket)) (more bool, err error) {
	return false, fmt.Errorf("sockets of other programs are listed on Linux only, not on %s", runtime.GOOS)
}
