package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/internal/outbound"
)

// States an Error puts a feed in; the words of beacons, GET /feeds and metrics.
const (
	StateBackoff        = "backoff"
	StateError          = "error"
	StateMissing        = "missing"
	StateAuth           = "auth"
	StateEnded          = "ended"
	StateRedirectLoop   = "redirect-loop"
	StateBlocked        = "blocked"
	StateBadContentType = "bad-content-type"
	StateEncoded        = "encoded"
	StateTLS            = "tls"
	StateStalled        = "stalled"
)

// Pace is how soon the upstream may be tried again.
type Pace uint8

// The paces.
const (
	PaceBackoff Pace = iota // by the usual back-off
	PaceMax                 // after the longest back-off: trying sooner cannot help
	PacePark                // not before the definition changes or a long time has passed
)

// Error is why Open or Next failed: the feed's state and what to do.
type Error struct {
	State      string        // one of the State constants
	Why        string        // ≤ 80 bytes for people; holds no credential and no query value
	Status     int           // of the answer; 0 = none
	Pace       Pace          //
	RetryAfter time.Duration // what the upstream asked for, 0.5 s–10 min; 0 = nothing
	Err        error         // cause; may be nil
}

// Error says state and why.
func (e *Error) Error() string {
	if e.Err == nil {
		return "upstream " + e.State + ": " + e.Why
	}
	return fmt.Sprintf("upstream %s: %s: %v", e.State, e.Why, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Causes with which the timers of a Conn end its context.
var (
	errIdle     = errors.New("no byte for the idle time")
	errAssembly = errors.New("an event was not finished in time")
)

// maxWhy bounds Error.Why: it travels in beacons.
const maxWhy = 80

func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, s)
	for len(s) > maxWhy {
		s = s[:maxWhy]
		for len(s) > 0 && s[len(s)-1] >= 0x80 {
			s = s[:len(s)-1]
		}
	}
	return s
}

// dialError classifies a round trip that brought no answer.
func dialError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, err)
	}
	var (
		dns  *net.DNSError
		bad  *outbound.ForbiddenError
		ne   net.Error
		cert *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &bad):
		return &Error{State: StateBlocked, Why: clip(bad.Error()), Pace: PaceMax, Err: err}
	case errors.As(err, &dns):
		why := "name not found"
		if !dns.IsNotFound {
			why = "name lookup failed"
		}
		return &Error{State: StateBackoff, Why: why, Err: err}
	case errors.As(err, &cert):
		return &Error{State: StateTLS, Why: clip("certificate: " + cert.Err.Error()), Err: err}
	case isTLS(err):
		return &Error{State: StateTLS, Why: clip(err.Error()), Err: err}
	case outbound.IsHeaderLimit(err):
		return &Error{State: StateError, Why: "response head is too large", Err: err}
	case strings.Contains(err.Error(), "timeout awaiting response headers"):
		return &Error{State: StateStalled, Why: "no response head in time", Err: err}
	case strings.Contains(err.Error(), "malformed HTTP"):
		return &Error{State: StateError, Why: "answer is not HTTP", Err: err}
	case errors.As(err, &ne) && ne.Timeout():
		return &Error{State: StateBackoff, Why: "connect timed out", Err: err}
	}
	return &Error{State: StateBackoff, Why: clip(short(err)), Err: err}
}

// isTLS reports a handshake that failed for another reason than the peer's certificate.
func isTLS(err error) bool {
	var (
		record  tls.RecordHeaderError
		alert   tls.AlertError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	if errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &unknown) || errors.As(err, &host) ||
		errors.As(err, &invalid) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "TLS handshake timeout") || strings.Contains(text, "tls: ") ||
		strings.Contains(text, "server gave HTTP response to HTTPS client")
}

// short drops the address parts of a network error, which name ports that change with each attempt.
func short(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// readError classifies the end of a stream that was up.
func readError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, err)
	}
	if errors.Is(err, io.EOF) {
		return &Error{State: StateBackoff, Why: "upstream ended the stream", Err: err}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{State: StateBackoff, Why: "upstream cut the stream", Err: err}
	}
	return &Error{State: StateBackoff, Why: clip(short(err)), Err: err}
}

// ended says why ctx of a connection ended: a timer of ours, or the owner, whose error is passed on.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errIdle) || errors.Is(cause, errAssembly) {
		return &Error{State: StateStalled, Why: cause.Error(), Err: err}
	}
	return cause
}

// statusError says what an answer means that is not an event stream.
func statusError(res *http.Response, now time.Time) error {
	e := &Error{State: StateError, Status: res.StatusCode, Why: "status " + strconv.Itoa(res.StatusCode)}
	switch res.StatusCode {
	case http.StatusNoContent:
		e.State, e.Pace, e.Why = StateEnded, PacePark, "status 204: upstream asked not to come back"
	case http.StatusUnauthorized, http.StatusForbidden:
		e.State, e.Pace = StateAuth, PaceMax
	case http.StatusNotFound, http.StatusGone:
		e.State = StateMissing
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e.RetryAfter = retryAfter(res.Header.Get("Retry-After"), now)
	}
	return e
}

// Bounds of Retry-After.
const (
	minRetryAfter = 500 * time.Millisecond
	maxRetryAfter = 10 * time.Minute
)

// retryAfter reads seconds or a date; 0 if v is neither.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0
	}
	if sec, ok := digits(v); ok {
		return min(max(time.Duration(sec)*time.Second, minRetryAfter), maxRetryAfter)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), minRetryAfter), maxRetryAfter)
}

// digits reads an unsigned decimal, saturating far above any time that matters.
func digits(s string) (int64, bool) {
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), 1<<20)
	}
	return n, len(s) > 0
}
