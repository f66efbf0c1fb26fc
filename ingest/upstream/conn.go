package upstream

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"sluice/internal/sse"
)

// Conn is an open event stream. One goroutine uses it.
type Conn struct {
	ctx     context.Context // of the request; only asked why it ended
	cancel  context.CancelCauseFunc
	body    io.ReadCloser
	dec     *sse.Decoder
	charset string

	idle, assembly time.Duration
	timer          *time.Timer   // ends the connection while Read waits; nil if there is nothing to bound
	late           atomic.Bool   // what timer ends is an event not finished, not silence
	spent          time.Duration // waiting for the event being assembled
}

func newConn(ctx context.Context, cancel context.CancelCauseFunc, res *http.Response, t Target, sticky string,
	h Hooks) *Conn {
	c := &Conn{ctx: ctx, cancel: cancel, body: res.Body, idle: t.Idle, assembly: t.Assembly,
		charset: charset(res.Header.Get("Content-Type"))}
	c.dec = sse.NewDecoder(reader{c}, sse.Options{MaxEvent: t.MaxEvent, OnBytes: h.OnBytes, OnRetry: h.OnRetry,
		OnLongID: h.OnLongID, OnOversize: h.OnOversize})
	c.dec.SetLastID([]byte(sticky))
	return c
}

// Charset is the foreign charset the upstream declared, "" = none. The stream is read as UTF-8 whatever it says.
func (c *Conn) Charset() string { return c.charset }

// Next returns the next event; its slices are valid until the next call. The error is an *Error, or the cause of the end
// of the context given to Open; after it the Conn is of no more use than to be closed.
func (c *Conn) Next() (sse.Event, error) {
	ev, err := c.dec.Next()
	c.spent = 0
	if err != nil {
		return sse.Event{}, readError(c.ctx, err)
	}
	return ev, nil
}

// LastID is the last event id in force: that of the last event, or of a later block without data.
func (c *Conn) LastID() []byte { return c.dec.LastID() }

// Buffered is how many bytes were read and not yet returned by Next.
func (c *Conn) Buffered() int { return c.dec.Buffered() }

// Close ends the connection. Call it once the Conn is no longer used.
func (c *Conn) Close() {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.cancel(nil)
	_ = c.body.Close() // best effort: nothing more is wanted from it
}

// reader is the decoder's way to the body: it counts the time spent waiting, and only that.
type reader struct{ c *Conn }

func (r reader) Read(p []byte) (int, error) {
	c := r.c
	limit, late := c.idle, false
	assembling := c.assembly > 0 && c.dec.InEvent()
	if !assembling {
		c.spent = 0
	} else if left := max(c.assembly-c.spent, 1); limit == 0 || left < limit {
		limit, late = left, true
	}
	if limit == 0 {
		return c.body.Read(p)
	}
	start := time.Now()
	c.arm(limit, late)
	n, err := c.body.Read(p)
	c.timer.Stop()
	if assembling {
		c.spent += time.Since(start)
	}
	return n, err
}

// arm starts the timer that ends the connection after d.
func (c *Conn) arm(d time.Duration, late bool) {
	c.late.Store(late)
	if c.timer != nil {
		c.timer.Reset(d)
		return
	}
	c.timer = time.AfterFunc(d, func() {
		if c.late.Load() {
			c.cancel(errAssembly)
			return
		}
		c.cancel(errIdle)
	})
}
