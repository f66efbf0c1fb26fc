package shard

import (
	"fmt"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// send gives b to the kernel without waiting. The scheduler is not told of the call: it
// never waits, and telling costs a tenth of the whole send when the gateway has one core,
// since the monitor thread takes the processor away from calls of some 20 µs. A collection
// that stops the world waits for one send at most. unix.Sendto hides the count.
func send(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
			uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// receive reads what is there, as send does; 0 without error means that the client closed.
func receive(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
			uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// takeSocket duplicates the descriptor of c. The duplicate shares c's socket and
// non-blocking mode; closing c afterwards only takes it out of Go's poller. (Using
// c's own descriptor would leave two owners; File().Fd() would make it blocking.)
func takeSocket(c net.Conn) (int32, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%w: %T has no socket", ErrUnsupported, c)
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("adopt: %w", err)
	}
	dup, failed := -1, error(nil)
	err = rc.Control(func(fd uintptr) { dup, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = failed
	}
	if err != nil {
		return -1, fmt.Errorf("adopt: %w", err)
	}
	return int32(dup), nil
}

// closeHard closes at once and throws away what the kernel still holds for a client
// that takes nothing; an ordinary close would keep it for minutes.
func closeHard(fd int32) {
	_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // best effort
	_ = unix.Close(int(fd))                                                                     // nothing to do about it
}

func closeSoft(fd int32) { _ = unix.Close(int(fd)) } // nothing to do about it

func shutdownWrite(fd int32) error { return unix.Shutdown(int(fd), unix.SHUT_WR) }

// socketError is why the kernel gave a connection up, 0 = it did not say.
func socketError(fd int32) syscall.Errno {
	v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return 0
	}
	return syscall.Errno(v)
}
