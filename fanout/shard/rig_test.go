//go:build linux

package shard

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"sluice/fanout"
	"sluice/internal/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is one shard whose time is the test's, without goroutines.
type rig struct {
	t     testing.TB
	s     *shard
	now   time.Time
	ended map[uint32][]fanout.End
}

func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Unix(1_800_000_000, 0), ended: map[uint32][]fanout.End{}}
	cfg.Ended = func(meta uint32, e fanout.End) { r.ended[meta] = append(r.ended[meta], e) }
	if cfg.EndBytes == nil {
		cfg.EndBytes = func(dst []byte, reason fanout.Reason) []byte { return fmt.Appendf(dst, "end: %s\n\n", reason) }
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		t.Fatal(err)
	}
	r.s = newShard(&cfg, m.shard(0), r.now)
	if err := r.s.open(); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	t.Cleanup(func() {
		r.s.closeAll()
		if len(r.s.side) != 0 || r.s.slab.live != 0 || len(r.s.byLog) != 0 || r.s.count.Load() != 0 || len(r.s.gaps) != 0 {
			t.Errorf("left after close: %d extras, %d entries, %d rosters, count %d, %d gap counts",
				len(r.s.side), r.s.slab.live, len(r.s.byLog), r.s.count.Load(), len(r.s.gaps))
		}
		for meta, ends := range r.ended {
			if len(ends) != 1 {
				t.Errorf("client %d was reported %d times: %v", meta, len(ends), ends)
			}
		}
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors left, %d before", after, before)
		}
		r.s.poll.close()
	})
	return r
}

// descriptors counts the sockets and pollers that are open; the runtime may open
// files of its own.
func descriptors(t testing.TB) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range list {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && (strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "anon_inode:")) {
			n++
		}
	}
	return n
}

// step turns until nothing is left to do.
func (r *rig) step() {
	r.t.Helper()
	for n := 0; ; n++ {
		if !r.s.turn(r.now) && r.s.in.empty() && r.s.poll.wait() == 0 {
			return
		}
		if n > 100_000 {
			r.t.Fatal("the shard never comes to rest")
		}
	}
}

// pass lets time go by, tick by tick.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	for end := r.now.Add(d); r.now.Before(end); {
		r.now = r.now.Add(tickLen)
		r.step()
	}
}

// peer is a client: the other end of a socket.
type peer struct {
	t    testing.TB
	fd   int
	meta uint32
	got  strings.Builder
	eof  bool
}

// join adds a client to the rig and lets it settle.
func (r *rig) join(sub fanout.Subscriber) *peer {
	r.t.Helper()
	p := r.offer(sub)
	r.step()
	return p
}

// offer puts a client into the inbox.
func (r *rig) offer(sub fanout.Subscriber) *peer {
	r.t.Helper()
	ours, p := newPeer(r.t, sub.Meta)
	r.s.count.Add(1)
	if !r.s.in.put(message{join: &joining{fd: ours, sub: sub}}) {
		r.t.Fatal("the shard is closed")
	}
	return p
}

// newPeer returns a connected pair with small buffers.
func newPeer(t testing.TB, meta uint32) (int32, *peer) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<10); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, fd: fds[1], meta: meta}
	t.Cleanup(p.close)
	return int32(fds[0]), p
}

func (p *peer) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

// read takes at most n bytes that are there and reports how many.
func (p *peer) read(n int) int {
	p.t.Helper()
	buf := make([]byte, min(n, 64<<10))
	total := 0
	for total < n {
		k, err := unix.Read(p.fd, buf[:min(len(buf), n-total)])
		if err == unix.EAGAIN {
			break
		}
		if err == unix.ECONNRESET || k == 0 {
			p.eof = true
			break
		}
		if err != nil {
			p.t.Fatal(err)
		}
		p.got.Write(buf[:k])
		total += k
	}
	return total
}

// all reads whatever the shard has for the peer, turning it as long as that helps.
func (r *rig) all(p *peer) string {
	r.t.Helper()
	for {
		n := p.read(1 << 30)
		r.step()
		if n == 0 && p.read(1) == 0 {
			return p.got.String()
		}
	}
}

func (r *rig) wantEnd(meta uint32, reason fanout.Reason) fanout.End {
	r.t.Helper()
	ends := r.ended[meta]
	if len(ends) != 1 || ends[0].Reason != reason {
		r.t.Fatalf("client %d ended %v, want once for %s", meta, ends, reason)
	}
	return ends[0]
}

func (r *rig) wantAlive(meta uint32) {
	r.t.Helper()
	if ends := r.ended[meta]; len(ends) != 0 {
		r.t.Fatalf("client %d ended %v, want it alive", meta, ends)
	}
}

// feed is a log with events of a known shape.
type feed struct {
	log *fanout.Log
	seq uint64
	now func() time.Time
	all strings.Builder
}

func (r *rig) feed(cfg fanout.LogConfig) *feed {
	cfg.Now = func() time.Time { return r.now }
	return &feed{log: fanout.NewLog(cfg), now: cfg.Now}
}

func position(seq uint64, at time.Time) broker.Position {
	return broker.Position{Seq: seq, Micros: at.UnixMicro()}
}

// event appends and publishes an event of about size bytes and returns its frame.
func (f *feed) event(size int) string {
	b := f.append(size)
	f.log.Publish()
	return b
}

func (f *feed) append(size int) string {
	f.seq++
	p := position(f.seq, f.now())
	body := fmt.Appendf(nil, "data: %d %s\n", f.seq, strings.Repeat("x", size))
	b := fanout.AppendFrame(nil, body, p)
	f.log.Append(fanout.Frame{Pos: p, Bytes: b, Rx: p.Micros - 1000})
	f.all.Write(b)
	return string(b)
}

// live is a client at the head.
func (f *feed) live(meta uint32) fanout.Subscriber {
	return fanout.Subscriber{Log: f.log, Meta: meta, Start: fanout.Start{Cursor: f.log.View().Head()}}
}

func wantBytes(t testing.TB, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Fatalf("got %d bytes, want %d; they differ at %d:\n got …%.80q\nwant …%.80q", len(got), len(want), i, got[i:], want[i:])
}

// tcpPair returns both ends of a real connection with small buffers.
func tcpPair(t testing.TB, l net.Listener) (server, client *net.TCPConn) {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func readFull(t testing.TB, c net.Conn, want string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(want))
	n, err := io.ReadFull(c, buf)
	if err != nil {
		t.Fatalf("read %d of %d bytes: %v", n, len(want), err)
	}
	wantBytes(t, string(buf), want)
}
