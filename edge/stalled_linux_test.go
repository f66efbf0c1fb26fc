package edge

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// maxStalled is what a reader that never reads may hold in the kernel: the bytes not
// acknowledged and what they and the socket take.
const maxStalled = 80 << 10

// serverSide finds this process's other end of c, whoever owns it, or -1.
func serverSide(t *testing.T, c net.Conn) int {
	t.Helper()
	local, remote := addrOf(t, c.LocalAddr()), addrOf(t, c.RemoteAddr())
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		own, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		peer, err := unix.Getpeername(fd)
		if err == nil && sockaddr(own) == remote && sockaddr(peer) == local {
			return fd
		}
	}
	return -1
}

func addrOf(t *testing.T, a net.Addr) netip.AddrPort {
	t.Helper()
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return ap
}

func sockaddr(a unix.Sockaddr) netip.AddrPort {
	if in, ok := a.(*unix.SockaddrInet4); ok {
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
	}
	return netip.AddrPort{}
}

// sendMemory is what the kernel holds for the other end of c: bytes not acknowledged, and
// all memory of its send queue. It fails while a shard exchanges the descriptor for its own.
func sendMemory(t *testing.T, c net.Conn) (queued, memory int, err error) {
	t.Helper()
	fd := serverSide(t, c)
	queued, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0, 0, err
	}
	// The sixth 32-bit word of the answer is sk_wmem_queued; any getter of eight words will do.
	info, err := unix.GetsockoptICMPv6Filter(fd, unix.SOL_SOCKET, unix.SO_MEMINFO)
	if err != nil {
		return 0, 0, err
	}
	return queued, int(info.Data[5]), nil
}

// A client that never reads holds at most 80 KB of the kernel's memory, on both
// listeners and with each engine, until it is cut.
func TestStalledClientHoldsLittle(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		r := newRig(t, engine, func(s *setup) {
			s.cfg.Edge.HTTPS = writePair(t, t.TempDir())
			s.cfg.Fanout.Slow.Stall, s.cfg.Fanout.Slow.Lag, s.cfg.Fanout.Slow.SoftLag = time.Minute, 64<<20, 64<<20
		})
		dial := map[string]func() (net.Conn, error){
			"http": func() (net.Conn, error) { return net.Dial("tcp", r.addr) },
			"https": func() (net.Conn, error) {
				return tls.Dial("tcp", r.tlsAddr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // loopback, self-signed
			},
		}
		clients := map[string]net.Conn{}
		for name, d := range dial {
			c, err := d()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, "GET /market/1.0.0/ticks HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			clients[name] = c
		}
		ticks := feedOf("market", "1.0.0", "/ticks")
		for name, c := range clients {
			var got []byte
			wait(t, name+" has its first event", func() bool { // before that, events are not for it
				r.publish(ticks, "small")
				if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				piece := make([]byte, 1<<10)
				n, err := c.Read(piece)
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				got = append(got, piece[:n]...)
				return bytes.Contains(got, []byte("data: small"))
			})
		}
		// The clients' receive buffers fill first: 6 MB at most, less as nobody reads. Events come
		// as long as one has room for more, so that no client is behind what the log keeps; what
		// it then holds is looked at when it has not changed for a while.
		large := strings.Repeat("x", 64<<10)
		for name, c := range clients {
			var queued, memory int
			same := 0
			wait(t, name+" is full", func() (full bool) {
				before := queued
				var err error
				queued, memory, err = sendMemory(t, c)
				if err != nil || queued < sendBuffer/2 {
					r.publish(ticks, large)
					same = 0
					return false
				}
				if same++; queued != before {
					same = 0
				}
				return same >= 100
			})
			t.Logf("%s: %d bytes not acknowledged, %d of memory", name, queued, memory)
			if queued > maxStalled || memory > maxStalled {
				t.Errorf("%s: %d bytes not acknowledged, %d of memory, want at most %d", name, queued, memory, maxStalled)
			}
		}
		if n := r.srv.Open(); n != 2 {
			t.Errorf("%d open, want both", n)
		}
	})
}
