package fanouttest

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// setReceiveBuffer shrinks what the kernel takes for a client that does not read.
func setReceiveBuffer(rc syscall.RawConn, size int) error {
	var failed error
	err := rc.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size) })
	if err != nil {
		return err
	}
	return failed
}
