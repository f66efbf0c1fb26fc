package edge

import (
	"context"
	"fmt"
	"net"
	"syscall"
)

// Listen opens a TCP listener for client streams: every socket it accepts, whatever
// engine serves it later, holds little kernel memory for a reader that stops and
// finds out soon that its peer vanished (the values stand in listener_linux.go;
// elsewhere the system's defaults stay). Keep-alive probes are off, since heartbeats
// do their work, Nagle's delay is off, and multipath TCP is off, since on such sockets
// some of the options fail silently. The queue of connections not yet accepted is as
// long as the system allows (net.core.somaxconn).
//
// The options are set on the listening socket and inherited, which costs nothing per
// connection. ctx bounds only the look-up of addr. The caller closes the listener.
func Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("listen %s %s: only tcp, tcp4 and tcp6 carry client streams", network, addr)
	}
	lc := net.ListenConfig{
		KeepAlive: -1, // off
		Control: func(_, _ string, rc syscall.RawConn) error {
			var failed error
			if err := rc.Control(func(fd uintptr) { failed = tuneSocket(fd) }); err != nil {
				return err
			}
			return failed
		},
	}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("listen %s %s: %w", network, addr, err)
	}
	return l, nil
}
