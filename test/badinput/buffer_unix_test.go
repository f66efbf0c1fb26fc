//go:build unix

package badinput

import "syscall"

// smallBuffer gives a socket the smallest receive buffer before it connects.
func smallBuffer(_, _ string, c syscall.RawConn) error {
	var bad error
	err := c.Control(func(fd uintptr) { bad = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	if err != nil {
		return err
	}
	return bad
}
