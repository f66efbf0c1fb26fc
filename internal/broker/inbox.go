package broker

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// inbox receives the answers to one connection's requests on one wildcard
// subscription. Each request, or group of them, has a token; what comes for an
// unknown token is late and thrown away.
type inbox struct {
	nc     *nats.Conn
	prefix string // "<inbox>."
	sub    *nats.Subscription

	mu      sync.Mutex
	next    uint64                   // guarded by mu
	waiting map[uint64]answerHandler // guarded by mu; bounded by the callers' concurrency
	down    chan struct{}            // guarded by mu: closed when the connection is cut
}

// answerHandler gets one answer on the library's goroutine and must not wait; tail
// is what its subject had behind the token.
type answerHandler func(tail string, m *nats.Msg)

func newInbox(nc *nats.Conn) (*inbox, error) {
	b := &inbox{nc: nc, prefix: nc.NewInbox() + ".", waiting: map[uint64]answerHandler{}, down: make(chan struct{})}
	sub, err := nc.Subscribe(b.prefix+">", b.receive)
	if err != nil {
		return nil, fmt.Errorf("broker: inbox: %w", mapError(err))
	}
	if err := sub.SetPendingLimits(1<<16, 64<<20); err != nil {
		return nil, fmt.Errorf("broker: inbox: %w", mapError(err))
	}
	b.sub = sub
	return b, nil
}

func (b *inbox) receive(m *nats.Msg) {
	token, tail, _ := strings.Cut(m.Subject[len(b.prefix):], ".")
	n, err := strconv.ParseUint(token, 36, 64)
	if err != nil {
		return
	}
	b.mu.Lock()
	h := b.waiting[n]
	b.mu.Unlock()
	if h != nil {
		h(tail, m)
	}
}

// open registers h and returns the reply subject, on which more tokens may follow,
// a channel that is closed when the connection is cut, and what ends it.
func (b *inbox) open(h answerHandler) (reply string, cut <-chan struct{}, end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	n := b.next
	b.waiting[n] = h
	return b.prefix + strconv.FormatUint(n, 36), b.down, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiting, n)
	}
}

// cutOff ends the waits of all: their answers went to a connection that is gone.
func (b *inbox) cutOff() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.down)
	b.down = make(chan struct{})
}

// ask sends one request and waits for one answer until ctx ends.
func (b *inbox) ask(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	answers := make(chan *nats.Msg, 1)
	reply, cut, end := b.open(func(_ string, m *nats.Msg) {
		select {
		case answers <- m:
		default: // a second answer to one question
		}
	})
	defer end()
	m.Reply = reply
	if err := b.nc.PublishMsg(m); err != nil {
		return nil, mapError(err)
	}
	select {
	case a := <-answers:
		return a, nil
	case <-cut:
		return nil, fmt.Errorf("%w: connection cut", ErrUnknownOutcome)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// noResponders reports whether m says that nobody listens to the request.
func noResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && value(m.Header, hdrStatus) == "503"
}
