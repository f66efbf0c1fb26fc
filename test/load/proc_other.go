//go:build !linux

package load

import (
	"errors"
	"time"
)

// readUsage is for Linux only.
func readUsage(pids []int) (usage, error) {
	if len(pids) > 0 {
		return usage{}, errors.New("reading CPU and memory of other processes needs Linux")
	}
	return usage{}, nil
}

// ownCPU is not known here.
func ownCPU() time.Duration { return 0 }

// systemFacts knows nothing more here.
func systemFacts(*Machine) {}
