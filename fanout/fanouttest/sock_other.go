//go:build !linux

package fanouttest

import "syscall"

// setReceiveBuffer does nothing here: slow readers then only need more bytes to be slow.
func setReceiveBuffer(syscall.RawConn, int) error { return nil }
