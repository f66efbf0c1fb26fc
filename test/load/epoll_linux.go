package load

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readBuffer   = 256 << 10
	slowBuffer   = 4 << 10 // SO_RCVBUF of a slow reader
	dialsPerTurn = 64
	wakeTag      = -1
)

// Where a connection of the epoll engine stands.
const (
	connAway       uint8 = iota // closed, and nobody has asked for it
	connWaiting                 // in the due heap
	connConnecting              // the handshake runs
	connOpen                    // the request is sent
)

// conn is a client with its descriptor. Owned by its worker.
type conn struct {
	client
	fd    int32
	gen   uint32 // of the descriptor, so that events of a closed one are recognised
	stage uint8
	since int64 // ns: when the connection was begun
}

// command is a wish of another goroutine.
type command struct {
	client    int32 // local index
	leave     bool
	returning bool
	at        int64
}

// worker is one goroutine with its epoll, its connections and one buffer for all.
type worker struct {
	*book
	eng   *epollEngine
	ep    int
	wake  int // eventfd
	conns []conn
	due   dueHeap
	buf   []byte

	wishes sync.Mutex // guards wished
	wished []command
}

// epollEngine serves plaintext HTTP/1.1 with few goroutines: no net.Conn, no goroutine and no buffer per client.
type epollEngine struct {
	cell    *Cell
	target  *target
	workers []*worker
	all     []*client
}

// newEpoll makes an engine of n workers for the cell's clients. Client i belongs to worker i mod n.
func newEpoll(c *Cell, t *target, run *common, n int) (engine, error) {
	e := &epollEngine{cell: c, target: t}
	total := c.Clients + c.Slow
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && uint64(total+64) > limit.Cur {
		return nil, fmt.Errorf("%d clients need more descriptors than the limit of %d: raise it with ulimit -n", total, limit.Cur)
	}
	for i := range n {
		w := &worker{book: newBook(run), eng: e, buf: make([]byte, readBuffer), conns: make([]conn, (total-i+n-1)/n)}
		for j := range w.conns {
			w.conns[j].client = newClient(c, i+j*n)
		}
		var err error
		if w.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			return nil, fmt.Errorf("create epoll: %w", err)
		}
		if w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			return nil, fmt.Errorf("create eventfd: %w", err)
		}
		if err := unix.EpollCtl(w.ep, unix.EPOLL_CTL_ADD, w.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeTag}); err != nil {
			return nil, fmt.Errorf("watch eventfd: %w", err)
		}
		e.workers = append(e.workers, w)
	}
	for i := range total {
		e.all = append(e.all, &e.workers[i%n].conns[i/n].client)
	}
	return e, nil
}

func (e *epollEngine) clients() []*client { return e.all }

func (e *epollEngine) books() (all []*book) {
	for _, w := range e.workers {
		all = append(all, w.book)
	}
	return all
}

func (e *epollEngine) open(client int, at time.Time, returning bool) {
	e.wish(client, command{at: at.UnixNano(), returning: returning})
}

func (e *epollEngine) leave(client int) { e.wish(client, command{leave: true}) }

// wish hands a command to the worker of a client.
func (e *epollEngine) wish(client int, c command) {
	w := e.workers[client%len(e.workers)]
	c.client = int32(client / len(e.workers))
	w.wishes.Lock()
	w.wished = append(w.wished, c)
	first := len(w.wished) == 1
	w.wishes.Unlock()
	if first {
		w.poke()
	}
}

// poke ends a wait of the worker.
func (w *worker) poke() {
	_, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full means that a poke is pending already
}

func (e *epollEngine) run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(e.workers))
	for i, w := range e.workers {
		wg.Go(func() { errs[i] = w.loop(ctx) })
	}
	stop := context.AfterFunc(ctx, func() {
		for _, w := range e.workers {
			w.poke()
		}
	})
	wg.Wait()
	if !stop() {
		<-ctx.Done()
	}
	return errors.Join(errs...)
}

// loop serves the worker's connections until ctx ends.
func (w *worker) loop(ctx context.Context) error {
	defer w.closeAll()
	events := make([]unix.EpollEvent, 1024)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(w.ep, events, w.patience())
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for sockets: %w", err)
		}
		w.mu.Lock()
		w.now = time.Now().UnixNano()
		for i := range max(n, 0) {
			if i%8 == 7 {
				w.now = time.Now().UnixNano() // a read takes some µs: eight are near enough
			}
			w.take(&events[i])
		}
		w.turn()
		w.mu.Unlock()
	}
	return nil
}

// patience is how long to wait for sockets, in ms: until the next client is due.
func (w *worker) patience() int {
	if len(w.due) == 0 {
		return 1000
	}
	d := time.Duration(w.due[0].at - time.Now().UnixNano())
	if d <= 0 {
		return 0
	}
	return int(min(d, time.Second)/time.Millisecond) + 1
}

// turn does what others wish and what is due.
func (w *worker) turn() {
	w.wishes.Lock()
	wished := w.wished
	w.wished = nil
	w.wishes.Unlock()
	for _, c := range wished {
		k := &w.conns[c.client]
		if c.leave {
			w.hangUp(k, true)
			k.stage = connAway
			k.gen++
			continue
		}
		if k.stage == connAway {
			k.returning = c.returning
			w.later(c.client, c.at)
		}
	}
	for range dialsPerTurn {
		if len(w.due) == 0 || w.due[0].at > w.now {
			return
		}
		d := heap.Pop(&w.due).(due)
		k := &w.conns[d.client]
		switch {
		case d.gen != k.gen:
		case k.stage == connWaiting:
			w.dial(k)
		case k.stage == connOpen && k.slow:
			w.sip(k, d.client)
		}
	}
}

// later puts a client into the due heap, to connect.
func (w *worker) later(local int32, at int64) {
	k := &w.conns[local]
	k.stage = connWaiting
	k.gen++
	heap.Push(&w.due, due{at, local, k.gen})
}

// local is the index of k in its worker.
func (w *worker) local(k *conn) int32 { return k.index / int32(len(w.eng.workers)) }

// dial begins a connection.
func (w *worker) dial(k *conn) {
	fd, err := w.connect(k)
	if err != nil {
		w.dialFailed(k, err)
		return
	}
	k.fd, k.stage, k.since = int32(fd), connConnecting, w.now
	k.gen++
	ev := unix.EpollEvent{Events: unix.EPOLLOUT, Fd: w.local(k), Pad: int32(k.gen)}
	if err := unix.EpollCtl(w.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		unix.Close(fd)
		w.dialFailed(k, err)
	}
}

// connect makes the socket of k and begins the handshake.
func (w *worker) connect(k *conn) (int, error) {
	t := w.eng.target
	family := unix.AF_INET
	if t.addr.IP.To4() == nil {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if k.slow {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, slowBuffer) // without it the reader is only less slow
	}
	if ip := t.sourceOf(int(k.index)); ip != nil {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // without it ports run out sooner
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte(ip.To4())}); err != nil {
			unix.Close(fd)
			return 0, err
		}
	}
	if err = unix.Connect(fd, sockaddr(t)); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func sockaddr(t *target) unix.Sockaddr {
	if ip := t.addr.IP.To4(); ip != nil {
		return &unix.SockaddrInet4{Port: t.addr.Port, Addr: [4]byte(ip)}
	}
	return &unix.SockaddrInet6{Port: t.addr.Port, Addr: [16]byte(t.addr.IP.To16())}
}

func (w *worker) dialFailed(k *conn, err error) {
	if w.dialErrors++; w.dialError == "" {
		w.dialError = err.Error()
	}
	w.later(w.local(k), w.now+int64(dialRetry))
}

// take handles one event of the epoll.
func (w *worker) take(ev *unix.EpollEvent) {
	if ev.Fd == wakeTag {
		var b [8]byte
		_, _ = unix.Read(w.wake, b[:]) // only empties it
		return
	}
	k := &w.conns[ev.Fd]
	if uint32(ev.Pad) != k.gen {
		return
	}
	switch {
	case k.stage == connConnecting:
		w.connected(k)
	case k.stage != connOpen:
	case k.slow:
		w.lost(k) // a slow reader is only watched for its end
	default:
		w.read(k, w.buf)
	}
}

// connected sends the request once the handshake is over.
func (w *worker) connected(k *conn) {
	fd := int(k.fd)
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err == nil {
		request := append([]byte(nil), w.eng.target.heads[k.topic]...)
		if id := w.begin(&k.client, k.since); len(id) > 0 {
			request = append(append(append(request, "Last-Event-ID: "...), id...), "\r\n"...)
		}
		_, err = unix.Write(fd, append(request, "\r\n"...)) // a fresh socket has room for a request
	}
	if err != nil {
		unix.Close(fd)
		w.dialFailed(k, err)
		return
	}
	k.stage = connOpen
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: w.local(k), Pad: int32(k.gen)}
	if k.slow {
		ev.Events = unix.EPOLLRDHUP
		w.lives(&k.client)
		heap.Push(&w.due, due{w.now + int64(time.Second), w.local(k), k.gen})
	}
	if err := unix.EpollCtl(w.ep, unix.EPOLL_CTL_MOD, fd, &ev); err != nil {
		unix.Close(fd)
		w.dialFailed(k, err)
	}
}

// read takes what one socket holds, at most a buffer full.
func (w *worker) read(k *conn, buf []byte) {
	// Not a raw call: with one CPU for worker and publisher the scheduler must see these calls, else the publisher waits for
	// a whole batch (p99 of 1,000 × 40/s: 16 ms so, 30 ms raw).
	n, _, errno := unix.Syscall(unix.SYS_READ, uintptr(k.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
	case errno != 0 || n == 0:
		w.lost(k)
	default:
		w.bytes += int64(n)
		k.feed(&k.client, buf[:n], w.book)
		if k.state == atEnd {
			w.lost(k)
		}
	}
}

// sip reads a little for a slow reader, once a second.
func (w *worker) sip(k *conn, local int32) {
	if rate := w.eng.cell.SlowRate; rate > 0 {
		gen := k.gen
		w.read(k, w.buf[:min(rate, len(w.buf))])
		if k.gen != gen {
			return // it ended meanwhile
		}
	}
	heap.Push(&w.due, due{w.now + int64(time.Second), local, k.gen})
}

// lost handles the end of a connection that the bench did not want: the client comes back as an EventSource would.
func (w *worker) lost(k *conn) {
	w.hangUp(k, false)
	k.stage = connAway
	k.gen++
	if k.slow && w.eng.cell.SlowRate == 0 {
		return // it reads nothing, so it has no place to resume from
	}
	w.later(w.local(k), w.now+int64(k.pause()))
}

// hangUp closes the descriptor of k if there is one.
func (w *worker) hangUp(k *conn, wanted bool) {
	if k.stage != connConnecting && k.stage != connOpen {
		return
	}
	unix.Close(int(k.fd))
	w.closed(&k.client, wanted)
}

func (w *worker) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.conns {
		w.hangUp(&w.conns[i], true)
		w.conns[i].stage = connAway
	}
	unix.Close(w.ep)
	unix.Close(w.wake)
}
