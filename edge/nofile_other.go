//go:build !linux

package edge

// fileLimit is how many descriptors the process may hold, 0 = unknown.
func fileLimit() int { return 0 }
