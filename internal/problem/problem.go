package problem

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// ContentType is the media type of JSON's bytes.
const ContentType = "application/problem+json"

// Error is an error with something to tell the client. Detail and Errors are sent as they are: never put request bytes, internal
// addresses or causes into them; wrap those with Err, which only the log sees.
type Error struct {
	Kind Kind
	// Detail is a sentence for this occurrence; empty leaves it out.
	Detail string
	// Errors name the wrong parts of the request.
	Errors []Part
	// RetryAfter is when to come back; 0 = not told.
	RetryAfter time.Duration
	// Err is the cause, for the log.
	Err error
}

// Part is one wrong part of a request: a parameter, or a place in a document.
type Part struct {
	Parameter string `json:"parameter,omitempty"`
	Pointer   string `json:"pointer,omitempty"`
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	Type      string `json:"type,omitempty"`
	Reason    string `json:"reason"`
}

// Error returns kind, detail, parts and cause, for the log: each thing once, as detail and cause often tell of the parts.
func (e *Error) Error() string {
	s := string(e.Kind)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	for _, p := range e.Errors {
		if !strings.Contains(s, p.Reason) {
			s += ": " + p.Parameter + p.Pointer + ": " + p.Reason
		}
	}
	if e.Err == nil {
		return s
	}
	cause := e.Err.Error()
	for _, p := range e.Errors {
		if p.Reason != "" && strings.HasSuffix(cause, p.Reason) && strings.Contains(s, p.Reason) {
			return s
		}
	}
	return s + ": " + cause
}

// Unwrap returns the kind and the cause, so that errors.Is finds both.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf returns the outermost Kind in err's chain; Internal when there is none. err must not be nil.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Internal
}

// Status returns the HTTP status of err; 500 for an error of no kind.
func Status(err error) int { return KindOf(err).Status() }

// Problem is an answer, ready to send.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Instance is the request id.
	Instance string `json:"instance,omitempty"`
	Errors   []Part `json:"errors,omitempty"`

	// Kind, RetryAfter and Close are for header fields: Retry-After in whole seconds, rounded up, and Connection: close.
	Kind       Kind          `json:"-"`
	RetryAfter time.Duration `json:"-"`
	Close      bool          `json:"-"`
}

// blockedRetry is told with api-blocked, an operator's decision that lasts.
const blockedRetry = 60 * time.Second

// From makes the answer to err for one request. Nothing but the kind, and an Error's Detail, Errors and RetryAfter, gets into it.
func From(err error, requestID string) Problem {
	k := KindOf(err)
	p := Problem{Type: k.Type(), Title: k.Title(), Status: k.Status(), Instance: requestID, Kind: k, Close: k.Closes()}
	var e *Error
	if errors.As(err, &e) {
		p.Detail, p.Errors, p.RetryAfter = e.Detail, e.Errors, e.RetryAfter
	}
	if k == APIBlocked && p.RetryAfter == 0 {
		p.RetryAfter = blockedRetry
	}
	return p
}

// JSON returns the body.
func (p Problem) JSON() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic("problem: " + err.Error()) // strings and numbers only: cannot happen
	}
	return b
}
