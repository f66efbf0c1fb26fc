package trace

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"time"
)

// Bounds of one span. More is left out.
const (
	MaxAttrs = 32
	MaxLinks = 8
	maxText  = 256 // bytes of an attribute or a failure
)

// Kind is which side of a call a span is.
type Kind uint8

// Kinds of spans.
const (
	Internal Kind = iota
	Server        // it answers somebody
	Client        // it asks somebody
	Producer      // it stores what others read
)

// Attr is one attribute: Value is a string, an int64 or a bool.
type Attr struct {
	Key   string
	Value any
}

// Str is a text. What is no UTF-8 in it is replaced, and it is cut to 256 bytes: v may
// come from outside.
func Str(key, v string) Attr { return Attr{key, bounded(v)} }

// Int is a number.
func Int(key string, v int64) Attr { return Attr{key, v} }

// Bool is a truth.
func Bool(key string, v bool) Attr { return Attr{key, v} }

func bounded(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Data is a span that has ended. Whoever gets it may keep it.
type Data struct {
	Name         string
	Kind         Kind
	Context      Context
	Parent       Context // zero = the root of its trace
	Remote       bool    // Parent is another process's
	Links        []Context
	Attrs        []Attr
	Failed       string // why; "" = it did not
	Began, Ended time.Time
}

// Recorder decides which spans are recorded and takes them once they have ended. Any
// goroutine may call it; it does not block.
type Recorder interface {
	// Sampled decides for a span of the trace that is the root of it or whose parent is
	// another process's. Spans below one that is recorded are recorded.
	Sampled(trace [16]byte, parent Context, name string) bool
	// Record takes a span.
	Record(*Data)
}

// Tracer begins spans. Nil begins none.
type Tracer struct{ rec Recorder }

// New returns a Tracer that gives its spans to rec.
func New(rec Recorder) *Tracer { return &Tracer{rec} }

// Start begins the first span of a new trace. at is when, zero = now. Nil says that it is
// not recorded.
func (t *Tracer) Start(name string, k Kind, at time.Time) *Span {
	if t == nil {
		return nil
	}
	return t.begin(name, k, at, Context{})
}

// Continue begins a span below parent, which another process made. An invalid one begins
// a new trace.
func (t *Tracer) Continue(parent Context, name string, k Kind, at time.Time) *Span {
	if t == nil {
		return nil
	}
	if !parent.Valid() {
		parent = Context{}
	}
	return t.begin(name, k, at, parent)
}

func (t *Tracer) begin(name string, k Kind, at time.Time, parent Context) *Span {
	c := Context{Trace: parent.Trace, Span: newSpanID(), Sampled: true}
	if !parent.Valid() {
		c.Trace = newTraceID()
	}
	if !t.rec.Sampled(c.Trace, parent, name) {
		return nil
	}
	return newSpan(t, Data{Name: name, Kind: k, Context: c, Parent: parent, Remote: parent.Valid(), Began: at})
}

// Span is something that takes time. One goroutine at a time uses it. Nil is one that is
// not recorded.
type Span struct {
	t    *Tracer // nil once ended
	data Data
}

func newSpan(t *Tracer, d Data) *Span {
	if d.Began.IsZero() {
		d.Began = time.Now()
	}
	return &Span{t, d}
}

// Child begins a span below s, recorded if s is.
func (s *Span) Child(name string, k Kind) *Span {
	if s == nil || s.t == nil {
		return nil
	}
	c := Context{Trace: s.data.Context.Trace, Span: newSpanID(), Sampled: true}
	return newSpan(s.t, Data{Name: name, Kind: k, Context: c, Parent: s.data.Context})
}

// Context names s to others; zero if s is not recorded.
func (s *Span) Context() Context {
	if s == nil {
		return Context{}
	}
	return s.data.Context
}

// Link says that s has to do with another span, of whatever trace. What names none, or
// is linked already, is left out.
func (s *Span) Link(to ...Context) {
	if s == nil {
		return
	}
	for _, c := range to {
		if c.Valid() && len(s.data.Links) < MaxLinks && !s.linked(c) {
			s.data.Links = append(s.data.Links, c)
		}
	}
}

func (s *Span) linked(c Context) bool {
	for _, l := range s.data.Links {
		if l.Span == c.Span && l.Trace == c.Trace {
			return true
		}
	}
	return false
}

// Set adds attributes. Each key is set once.
func (s *Span) Set(attrs ...Attr) {
	if s == nil {
		return
	}
	attrs = attrs[:min(len(attrs), MaxAttrs-len(s.data.Attrs))]
	s.data.Attrs = append(s.data.Attrs, attrs...)
}

// Fail marks s as failed, for why.
func (s *Span) Fail(why string) {
	if s != nil {
		s.data.Failed = bounded(why)
	}
}

// End hands s to the recorder. Further calls do nothing, and s must not be changed.
func (s *Span) End() {
	if s == nil || s.t == nil {
		return
	}
	t := s.t
	s.t = nil
	s.data.Ended = time.Now()
	t.rec.Record(&s.data)
}

// newTraceID and newSpanID need be unique, not secret; neither is ever zero. The second
// half of a trace's id is all chance: samplers decide by it.
func newTraceID() (id [16]byte) {
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64()|1)
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

func newSpanID() (id [8]byte) {
	binary.LittleEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}
