package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/internal/sse"
)

const (
	tailSilence    = 45 * time.Second // three heartbeats without a byte: the connection is dead
	tailMaxBackoff = 60 * time.Second
)

// errFinal wraps an answer that trying again cannot cure.
var errFinal = errors.New("giving up")

// tailer follows one URL. It belongs to one goroutine.
type tailer struct {
	url    *url.URL
	header http.Header
	flags  tailFlags
	client *http.Client
	print  func(tailEvent) error
	notes  io.Writer

	lastID   string
	retry    time.Duration // last retry: the server sent
	failures int           // failed attempts in a row
	seen     uint64
}

// follow connects, reads and reconnects until ctx ends, the count is reached or an answer is final.
func (t *tailer) follow(ctx context.Context) error {
	for {
		wait, err := t.connect(ctx)
		if ctx.Err() != nil || err == io.EOF {
			return nil
		}
		if errors.Is(err, errFinal) || t.flags.once {
			return err
		}
		if err != nil {
			t.failures++
			wait = max(wait, min(t.retry<<min(t.failures-1, 10), tailMaxBackoff))
		}
		wait = time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))
		if err != nil {
			t.note("%v; next attempt in %v", err, wait.Round(time.Millisecond))
		} else {
			t.note("stream ended; resuming in %v", wait.Round(time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// connect opens the stream once and reads it to its end. It returns how long to wait before the next attempt, io.EOF
// when the wanted count was reached, or why the attempt failed.
func (t *tailer) connect(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.target(), nil)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errFinal, err)
	}
	req.Header = t.header.Clone()
	if t.lastID != "" {
		req.Header.Set("Last-Event-ID", t.lastID)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if wait, err := t.answer(resp); err != nil {
		return wait, err
	}
	t.failures = 0
	return t.read(ctx, cancel, resp.Body)
}

// target is the URL of the next attempt: the start position matters only while there is no event id.
func (t *tailer) target() string {
	u := *t.url
	q := u.Query()
	if t.lastID == "" && t.flags.from != "" {
		q.Set("from", t.flags.from)
	}
	if t.lastID == "" && t.flags.since != "" {
		q.Set("since", t.flags.since)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// answer judges status and content type as the HTML standard does, plus Retry-After.
func (t *tailer) answer(resp *http.Response) (time.Duration, error) {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if resp.StatusCode == http.StatusOK && strings.EqualFold(strings.TrimSpace(kind), "text/event-stream") {
		return 0, nil
	}
	why := fmt.Errorf("%s answered %s%s", t.url.Host, resp.Status, problemDetail(resp))
	switch {
	case resp.StatusCode == http.StatusOK:
		return 0, fmt.Errorf("%w: content type %q is not an event stream", errFinal, kind)
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		s, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return time.Duration(min(max(s, 0), 600)) * time.Second, why
	}
	return 0, fmt.Errorf("%w: %w", errFinal, why)
}

// problemDetail returns ": title: detail" of a problem+json body, or nothing.
func problemDetail(resp *http.Response) string {
	var p struct{ Title, Detail string }
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") ||
		json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&p) != nil || p.Title == "" {
		return ""
	}
	if p.Detail == "" {
		return ": " + p.Title
	}
	return ": " + p.Title + ": " + p.Detail
}

// read prints events until the body ends or is silent for too long.
func (t *tailer) read(ctx context.Context, cancel context.CancelCauseFunc, body io.Reader) (time.Duration, error) {
	quiet := time.AfterFunc(tailSilence, func() { cancel(fmt.Errorf("no byte for %v", tailSilence)) })
	defer quiet.Stop()
	d := sse.NewDecoder(body, sse.Options{
		MaxEvent: 64 << 20,
		OnBytes:  func(int) { quiet.Reset(tailSilence) },
		OnRetry:  func(ms uint64) { t.retry = min(time.Duration(ms)*time.Millisecond, tailMaxBackoff) },
	})
	for {
		ev, err := d.Next()
		if err != nil {
			t.lastID = string(d.LastID())
			if err == io.EOF {
				return t.retry, nil
			}
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return t.retry, fmt.Errorf("stream broke: %w", err)
		}
		if err := t.take(ev); err != nil {
			return t.retry, err
		}
		if len(ev.ID) > 0 {
			t.lastID = string(ev.ID)
		}
		if t.flags.count > 0 && t.seen >= t.flags.count {
			return 0, io.EOF
		}
	}
}

// take prints one event, or notes what the gateway says about the stream.
func (t *tailer) take(ev sse.Event) error {
	name := string(ev.Type)
	if name == "" {
		name = "message"
	}
	if strings.HasPrefix(name, "gateway.") {
		t.note("%s %s", name, ev.Data)
		var end struct {
			Retryable *bool  `json:"retryable"`
			Reason    string `json:"reason"`
		}
		if name == "gateway.end" && json.Unmarshal(ev.Data, &end) == nil && end.Retryable != nil && !*end.Retryable {
			return fmt.Errorf("%w: the gateway ended the stream: %s", errFinal, end.Reason)
		}
		return nil
	}
	t.seen++
	if err := t.print(tailEvent{ID: string(ev.ID), Event: name, Data: string(ev.Data)}); err != nil {
		return fmt.Errorf("%w: %w", errFinal, err)
	}
	return nil
}

// note tells something about the stream itself.
func (t *tailer) note(format string, args ...any) {
	fmt.Fprintf(t.notes, "sluice tail: "+format+"\n", args...)
}
