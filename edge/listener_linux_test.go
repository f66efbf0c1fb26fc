package edge

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func accepted(t *testing.T, network, addr string) *net.TCPConn {
	t.Helper()
	l, err := Listen(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s.(*net.TCPConn)
}

func option(t *testing.T, c *net.TCPConn, level, opt int) int {
	t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var v int
	var failed error
	if err := rc.Control(func(fd uintptr) { v, failed = unix.GetsockoptInt(int(fd), level, opt) }); err != nil {
		t.Fatal(err)
	}
	if failed != nil {
		t.Fatal(failed)
	}
	return v
}

func TestAcceptedSocketsInheritTheOptions(t *testing.T) {
	c := accepted(t, "tcp", "127.0.0.1:0")
	for _, o := range []struct {
		name       string
		level, opt int
		want       int
	}{
		{"SO_SNDBUF (doubled by the kernel)", unix.SOL_SOCKET, unix.SO_SNDBUF, 64 << 10},
		{"SO_RCVBUF (doubled by the kernel)", unix.SOL_SOCKET, unix.SO_RCVBUF, 16 << 10},
		{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 16 << 10},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 30_000},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0},
		{"SO_PROTOCOL (not multipath)", unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP},
	} {
		if got := option(t, c, o.level, o.opt); got != o.want {
			t.Errorf("%s = %d, want %d", o.name, got, o.want)
		}
	}
}

// A reader that never reads must hold only a few ten kilobytes in the kernel.
func TestStalledReaderHoldsLittle(t *testing.T) {
	c := accepted(t, "tcp4", "127.0.0.1:0")
	if err := c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16<<10)
	held := 0
	for {
		n, err := c.Write(buf)
		held += n
		if err != nil {
			break
		}
		if held > 32<<20 {
			t.Fatal("the socket never filled")
		}
	}
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var unsent int
	if err := rc.Control(func(fd uintptr) { unsent, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if unsent == 0 || unsent > 80<<10 {
		t.Errorf("a stalled reader holds %d bytes in the sender's kernel, want 1 to %d", unsent, 80<<10)
	}
}
