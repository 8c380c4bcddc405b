//go:build !linux && !darwin

package store

// freeBytes says how much may still be written to the file system of dir.
func freeBytes(string) (free uint64, known bool) { return 0, false }
