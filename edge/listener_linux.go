package edge

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// What one client socket may hold in the kernel. A reader that stops holds the send
// buffer (the kernel doubles the figure for its own overhead) instead of the megabytes
// to which it would grow by itself; clients send nothing after their request, so the
// receive buffer is small. The price is that a far client gets backlog at about two
// send buffers per round trip.
const (
	sendBuffer    = 32 << 10
	receiveBuffer = 8 << 10
	// notSentLow keeps a socket from being reported writable while more than half of it
	// is still unsent, so a slow reader costs one wake-up per window, not per segment.
	notSentLow = 16 << 10
	// userTimeout closes a connection whose peer acknowledges nothing for so long: with
	// heartbeats on the way it finds vanished peers, which otherwise takes ~20 minutes.
	userTimeout = 30 * time.Second
)

// tuneSocket sets the options above on a listening socket; what it accepts inherits them.
func tuneSocket(fd uintptr) error {
	for _, o := range []struct {
		name              string
		level, opt, value int
	}{
		{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer},
		{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLow},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds())},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		if err := unix.SetsockoptInt(int(fd), o.level, o.opt, o.value); err != nil {
			return fmt.Errorf("set %s to %d: %w", o.name, o.value, err)
		}
	}
	return nil
}
