package load

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// portableBooks is over how many books portable clients are spread, so that their locks do not meet.
const portableBooks = 8

// visitor is a client with its goroutine's mailbox.
type visitor struct {
	client
	book  *book
	calls chan call

	mu     sync.Mutex
	hangUp context.CancelFunc // ends the connection that stands; guarded by mu
	away   bool               // leave was called since the last open; guarded by mu
}

// call asks a visitor to connect.
type call struct {
	at        time.Time
	returning bool
}

// portableEngine serves clients by net/http: TLS, HTTP/2, any system. It costs a goroutine and buffers per client.
type portableEngine struct {
	cell     *Cell
	target   *target
	http     *http.Client
	all      []*client
	visitors []*visitor
	shared   []*book
	buffers  sync.Pool
}

func newPortable(c *Cell, t *target, run *common) engine {
	tr := newTransport(c.Insecure, c.HTTP2)
	if t.sources > 0 {
		dialer := net.Dialer{}
		var next sync.Mutex
		var dialed int
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			next.Lock()
			d := dialer
			d.LocalAddr = &net.TCPAddr{IP: t.sourceOf(dialed % (c.Clients + c.Slow))}
			dialed++
			next.Unlock()
			return d.DialContext(ctx, network, addr)
		}
	}
	e := &portableEngine{cell: c, target: t, http: &http.Client{Transport: tr}}
	e.buffers.New = func() any { b := make([]byte, 32<<10); return &b }
	for range portableBooks {
		e.shared = append(e.shared, newBook(run))
	}
	for i := range c.Clients + c.Slow {
		v := &visitor{client: newClient(c, i), book: e.shared[i%portableBooks], calls: make(chan call, 1)}
		e.visitors = append(e.visitors, v)
		e.all = append(e.all, &v.client)
	}
	return e
}

// newTransport is net/http without what disturbs a measurement: compression and limits.
func newTransport(insecure, http2 bool) *http.Transport {
	tr := &http.Transport{
		DisableCompression: true, ForceAttemptHTTP2: http2, WriteBufferSize: 4 << 10, ReadBufferSize: 4 << 10,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: insecure}, //nolint:gosec // asked for by --insecure
	}
	if http2 {
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetHTTP2(true)
		tr.Protocols.SetUnencryptedHTTP2(true)
	} else {
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetHTTP1(true)
	}
	return tr
}

func (e *portableEngine) clients() []*client { return e.all }
func (e *portableEngine) books() []*book     { return e.shared }

func (e *portableEngine) open(client int, at time.Time, returning bool) {
	select {
	case e.visitors[client].calls <- call{at, returning}:
	default: // it has been called already
	}
}

func (e *portableEngine) leave(client int) {
	v := e.visitors[client]
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.away = true; v.hangUp != nil {
		v.hangUp()
	}
}

func (e *portableEngine) run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, v := range e.visitors {
		wg.Go(func() { e.visit(ctx, v) })
	}
	wg.Wait()
	e.http.CloseIdleConnections()
	return nil
}

// visit is the life of one client: wait for a call, read until the end, come back as an EventSource would.
func (e *portableEngine) visit(ctx context.Context, v *visitor) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		var c call
		select {
		case <-ctx.Done():
			return
		case c = <-v.calls:
		}
		for {
			if d := time.Until(c.at); d > 0 {
				timer.Reset(d)
				select {
				case <-ctx.Done():
					return
				case <-timer.C:
				}
			}
			pause, again := e.connect(ctx, v, c.returning)
			if !again || ctx.Err() != nil {
				break
			}
			c = call{at: time.Now().Add(pause)}
		}
	}
}

// connect opens the stream once and reads it to its end. again says that the end was not wanted, and pause how long to
// wait then.
func (e *portableEngine) connect(ctx context.Context, v *visitor, returning bool) (pause time.Duration, again bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v.mu.Lock()
	v.hangUp, v.away = cancel, false
	v.mu.Unlock()

	v.book.mu.Lock()
	v.returning = returning
	id := string(v.book.begin(&v.client, time.Now().UnixNano()))
	v.book.mu.Unlock()

	err := e.stream(ctx, v, id)

	v.mu.Lock()
	wanted := v.away
	v.hangUp = nil
	v.mu.Unlock()
	wanted = wanted || ctx.Err() != nil

	v.book.mu.Lock()
	defer v.book.mu.Unlock()
	if err != nil && !v.live && !wanted {
		if v.book.dialErrors++; v.book.dialError == "" {
			v.book.dialError = err.Error()
		}
		return dialRetry, true
	}
	v.book.closed(&v.client, wanted)
	return v.pause(), !wanted
}

// stream requests and reads. Its error matters only if no head came.
func (e *portableEngine) stream(ctx context.Context, v *visitor, id string) error {
	u, err := url.Parse(topicURL(e.cell.URL, int(v.topic)))
	if err != nil {
		return err
	}
	req := (&http.Request{Method: http.MethodGet, URL: u, Header: e.target.header.Clone(), Host: u.Host}).WithContext(ctx)
	if id != "" {
		req.Header.Set("Last-Event-ID", id)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()

	v.book.mu.Lock()
	v.book.now = time.Now().UnixNano()
	v.status, v.state = int16(resp.StatusCode), atBody
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		v.after = int32(min(max(s, 0), 600))
	}
	v.book.headed(&v.client, strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/event-stream"))
	going := v.state == atBody
	v.book.mu.Unlock()
	if !going {
		return nil
	}
	if v.slow && e.cell.SlowRate == 0 {
		<-ctx.Done()
		return nil
	}
	e.read(ctx, v, resp.Body)
	return nil
}

// read feeds a body to the client's parser until it ends.
func (e *portableEngine) read(ctx context.Context, v *visitor, body io.Reader) {
	pooled := e.buffers.Get().(*[]byte)
	defer e.buffers.Put(pooled)
	buf := *pooled
	if v.slow {
		buf = buf[:min(e.cell.SlowRate, len(buf))]
	}
	for {
		n, err := body.Read(buf)
		if n > 0 {
			v.book.mu.Lock()
			v.book.now = time.Now().UnixNano()
			v.book.bytes += int64(n)
			v.feed(&v.client, buf[:n], v.book)
			v.book.mu.Unlock()
		}
		if err != nil || v.state == atEnd {
			return
		}
		if v.slow {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	}
}
