//go:build linux || darwin

package store

import "golang.org/x/sys/unix"

// freeBytes says how much may still be written to the file system of dir.
func freeBytes(dir string) (free uint64, known bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}
