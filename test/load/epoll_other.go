//go:build !linux

package load

import "errors"

// newEpoll is for Linux only.
func newEpoll(*Cell, *target, *common, int) (engine, error) {
	return nil, errors.New("the epoll client needs Linux")
}
