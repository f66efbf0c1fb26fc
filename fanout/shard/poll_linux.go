package shard

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller is a shard's epoll. Its descriptor is parked in Go's own poller, so that a
// waiting shard holds no thread and a read deadline is its alarm clock.
type poller struct {
	fd     int
	file   *os.File
	conn   syscall.RawConn
	events []unix.EpollEvent
	ready  int                // of events, filled by the look before a park
	look   func(uintptr) bool // made once: a park allocates nothing
	idle   func() bool        // set by the shard: nothing to do?
}

// What can happen to a socket.
const (
	evIn     = unix.EPOLLIN
	evOut    = unix.EPOLLOUT
	evGone   = unix.EPOLLRDHUP
	evBroken = unix.EPOLLERR | unix.EPOLLHUP
)

func newPoller(idle func() bool) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else os.NewFile would not poll it
		unix.Close(fd)
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	p := &poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), events: make([]unix.EpollEvent, 256), idle: idle}
	if p.conn, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		p.file.Close()
		return nil, fmt.Errorf("park epoll: %w", err)
	}
	p.look = func(uintptr) bool {
		if !p.idle() {
			return true
		}
		p.ready = p.wait()
		return p.ready > 0
	}
	return p, nil
}

func (p *poller) close() { p.file.Close() }

// add watches a socket level-triggered; the tag comes back with its events.
func (p *poller) add(fd int32, slot, gen uint32) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(slot), Pad: int32(gen)}
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd), &ev)
}

// want sets what a socket is watched for.
func (p *poller) want(fd int32, slot, gen uint32, in, out bool) error {
	ev := unix.EpollEvent{Fd: int32(slot), Pad: int32(gen)}
	if in {
		ev.Events = unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if out {
		ev.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, int(fd), &ev)
}

// wait fills events with what is ready now.
func (p *poller) wait() int {
	for {
		n, err := unix.EpollWait(p.fd, p.events, 0)
		if err != unix.EINTR {
			return max(n, 0)
		}
	}
}

// park sleeps until a socket is ready (left in events[:ready]), wake is called or the
// deadline passes. The look is after Go's poller was reset, so no edge is missed.
func (p *poller) park() error {
	p.ready = 0
	err := p.conn.Read(p.look)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// alarm sets when a park ends by itself.
func (p *poller) alarm(at time.Time) error { return p.file.SetReadDeadline(at) }

// wake ends a park, from any goroutine. A deadline in the past makes the goroutine
// runnable without a system call: 1.0 µs until it runs, against 5.1 µs by an eventfd in
// the epoll (measured, interleaved).
func (p *poller) wake() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) } // fails only once closed
