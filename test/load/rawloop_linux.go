package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RawLoop is the floor that servers are compared with: it answers any GET with the head of an event stream and sends the
// body of any POST as one event to all of them. One locked thread, one epoll, one send per client and event, no
// bookkeeping: a client that cannot take an event misses it, which the bench counts as lost.
//
// It writes its address to ready as one line and serves until the process ends or ctx does. cpu is where to run, -1 =
// anywhere.
func RawLoop(ctx context.Context, addr string, cpu int, ready io.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cpu >= 0 {
		if err := PinSelf(cpu); err != nil {
			return err
		}
	}
	l, err := newRawLoop(addr)
	if err != nil {
		return err
	}
	defer l.close()
	stop := context.AfterFunc(ctx, func() { _, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })
	defer stop()
	if _, err := fmt.Fprintf(ready, "%s\n", l.at); err != nil {
		return err
	}
	return l.run(ctx)
}

// rawLoop is the loop's state. It belongs to one goroutine.
type rawLoop struct {
	listen int
	ep     int
	wake   int
	at     string
	place  map[int]int // descriptor → index in subs
	subs   []int32
	posts  map[int][]byte // unfinished requests
	frame  []byte
	n      int64
}

func newRawLoop(addr string) (*rawLoop, error) {
	tcp, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	l := &rawLoop{place: map[int]int{}, posts: map[int][]byte{}, listen: -1, ep: -1, wake: -1}
	fail := func(what string, err error) (*rawLoop, error) {
		l.close()
		return nil, fmt.Errorf("raw loop: %s: %w", what, err)
	}
	if l.listen, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return fail("socket", err)
	}
	_ = unix.SetsockoptInt(l.listen, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // matters only for a fixed port
	sa := &unix.SockaddrInet4{Port: tcp.Port}
	copy(sa.Addr[:], tcp.IP.To4())
	if err := unix.Bind(l.listen, sa); err != nil {
		return fail("bind "+addr, err)
	}
	if err := unix.Listen(l.listen, 4096); err != nil {
		return fail("listen", err)
	}
	name, err := unix.Getsockname(l.listen)
	if err != nil {
		return fail("address", err)
	}
	bound := name.(*unix.SockaddrInet4)
	l.at = net.JoinHostPort(net.IP(bound.Addr[:]).String(), strconv.Itoa(bound.Port))
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fail("epoll", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fail("eventfd", err)
	}
	for _, fd := range []int{l.listen, l.wake} {
		if err := l.watch(fd); err != nil {
			return fail("watch", err)
		}
	}
	return l, nil
}

func (l *rawLoop) watch(fd int) error {
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (l *rawLoop) close() {
	for _, fd := range l.subs {
		unix.Close(int(fd))
	}
	for _, fd := range []int{l.listen, l.ep, l.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (l *rawLoop) run(ctx context.Context) error {
	events := make([]unix.EpollEvent, 512)
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(l.ep, events, -1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("raw loop: wait: %w", err)
		}
		for i := range max(n, 0) {
			switch fd := int(events[i].Fd); fd {
			case l.listen:
				l.accept()
			case l.wake:
			default:
				l.read(fd, buf)
			}
		}
	}
	return nil
}

func (l *rawLoop) accept() {
	fd, _, err := unix.Accept4(l.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return // gone again, or out of descriptors: the client sees it
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // without it figures are only worse
	if l.watch(fd) != nil {
		unix.Close(fd)
	}
}

const (
	rawHead   = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"
	rawPosted = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
)

func (l *rawLoop) read(fd int, buf []byte) {
	n, err := unix.Read(fd, buf)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n <= 0 {
		l.drop(fd)
		return
	}
	request := append(l.posts[fd], buf[:n]...)
	head, body, whole := bytes.Cut(request, []byte("\r\n\r\n"))
	switch {
	case len(request) > 2<<20:
		l.drop(fd)
		return
	case !whole:
	case bytes.HasPrefix(head, []byte("GET ")):
		delete(l.posts, fd)
		if _, err := unix.Write(fd, []byte(rawHead)); err != nil {
			l.drop(fd)
			return
		}
		l.place[fd] = len(l.subs)
		l.subs = append(l.subs, int32(fd))
		return
	default:
		if want := contentLength(head); len(body) >= want {
			delete(l.posts, fd)
			l.send(body[:want])
			if _, err := unix.Write(fd, []byte(rawPosted)); err != nil {
				l.drop(fd)
			}
			return
		}
	}
	l.posts[fd] = request
}

// send makes one event of data and sends it to every subscriber.
func (l *rawLoop) send(data []byte) {
	l.n++
	l.frame = append(strconv.AppendInt(append(l.frame[:0], "id: "...), l.n, 10), "\ndata: "...)
	l.frame = append(append(l.frame, data...), "\n\n"...)
	p, size := uintptr(unsafe.Pointer(&l.frame[0])), uintptr(len(l.frame))
	for _, fd := range l.subs {
		// What fails or is cut short is not sent again: no bookkeeping.
		_, _, _ = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), p, size, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	}
	runtime.KeepAlive(l)
}

// drop closes a connection.
func (l *rawLoop) drop(fd int) {
	delete(l.posts, fd)
	if i, ok := l.place[fd]; ok {
		last := l.subs[len(l.subs)-1]
		l.subs[i] = last
		l.place[int(last)] = i
		l.subs = l.subs[:len(l.subs)-1]
		delete(l.place, fd)
	}
	unix.Close(fd)
}

func contentLength(head []byte) int {
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			n, _ := digits(bytes.TrimSpace(value))
			return int(min(n, 1<<21))
		}
	}
	return 0
}

// RawProcess is a raw loop in a process of its own.
type RawProcess struct {
	Addr string
	PID  int
	cmd  *exec.Cmd
}

// StartRaw starts a raw loop as argv, a command line that ends in RawLoop with standard output as ready.
func StartRaw(ctx context.Context, argv ...string) (*RawProcess, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(cmd.Environ(), "GOMAXPROCS=1", "GOGC=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("raw loop: %w", err)
	}
	p := &RawProcess{PID: cmd.Process.Pid, cmd: cmd}
	line := make([]byte, 128)
	n, err := out.Read(line) // the address is written at once
	if p.Addr = strings.TrimSpace(string(line[:n])); p.Addr == "" {
		p.Stop()
		return nil, fmt.Errorf("raw loop did not start: %w", err)
	}
	return p, nil
}

// Stop ends the process and waits for it.
func (p *RawProcess) Stop() {
	_ = p.cmd.Process.Kill() // it has nothing to save
	_ = p.cmd.Wait()         // it was killed: the error says so
}
