package trace

import (
	"strings"
	"testing"
	"time"
)

// kept is a recorder that keeps everything, or nothing.
type kept struct {
	none  bool
	ended []*Data
	roots []Context // parents that it was asked about
}

func (k *kept) Sampled(_ [16]byte, parent Context, _ string) bool {
	k.roots = append(k.roots, parent)
	return !k.none
}

func (k *kept) Record(d *Data) { k.ended = append(k.ended, d) }

const example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParse(t *testing.T) {
	c, ok := Parse(example)
	if !ok || !c.Sampled || c.String() != example || c.TraceID() != example[3:35] {
		t.Fatalf("%+v, %v: %s", c, ok, c)
	}
	for name, text := range map[string]string{
		"flags not known":                       example[:53] + "fe",
		"later version":                         "cc" + example[2:],
		"later version with more behind":        "cc" + example[2:] + "-what",
		"later version, flags that are sampled": "01" + example[2:53] + "03",
	} {
		if c, ok := Parse(text); !ok || c.TraceID() != example[3:35] {
			t.Errorf("%s: %q is not taken", name, text)
		}
	}
	for name, text := range map[string]string{
		"empty":                        "",
		"cut":                          example[:54],
		"version ff":                   "ff" + example[2:],
		"version 00 with more behind":  example + "-what",
		"later version, glued on":      "cc" + example[2:] + "what",
		"upper case":                   strings.ToUpper(example),
		"no trace":                     "00-" + strings.Repeat("0", 32) + example[35:],
		"no span":                      example[:36] + strings.Repeat("0", 16) + "-01",
		"no hex":                       strings.Replace(example, "af", "xy", 1),
		"no dash":                      strings.Replace(example, "-", "_", 1),
		"flags no hex":                 example[:53] + "0g",
		"white space at the beginning": " " + example,
	} {
		if c, ok := Parse(text); ok || c != (Context{}) {
			t.Errorf("%s: %q is taken as %s", name, text, c)
		}
	}
	if text := (Context{Sampled: true}).String(); text != "" {
		t.Errorf("a context that names nothing is %q", text)
	}
}

// FuzzParse: what is taken means the same when written again.
func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("cc" + example[2:] + "-what")
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := Parse(text)
		if !ok {
			return
		}
		again, ok := Parse(c.String())
		if !ok || again != c {
			t.Errorf("%q is %+v, written %q, read %+v", text, c, c.String(), again)
		}
	})
}

// Off is nil, all the way down.
func TestOff(t *testing.T) {
	var tr *Tracer
	s := tr.Start("a", Server, time.Time{})
	if s != nil || tr.Continue(Context{}, "a", Server, time.Time{}) != nil || s.Child("b", Internal) != nil {
		t.Fatal("a tracer that is off began a span")
	}
	s.Set(Str("k", "v"))
	s.Link(Context{})
	s.Fail("why")
	s.End()
	if s.Context().Valid() || s.Context().String() != "" {
		t.Error("a span that is not recorded has a name")
	}
	if n := testing.AllocsPerRun(100, func() { s.Child("b", Internal).End() }); n != 0 {
		t.Errorf("%v allocations while off", n)
	}
}

func TestSpans(t *testing.T) {
	rec := &kept{}
	tr := New(rec)
	began := time.Now().Add(-time.Hour)
	root := tr.Start("root", Server, began)
	child := root.Child("child", Internal)
	theirs, _ := Parse(example)
	next := tr.Continue(theirs, "next", Producer, time.Time{})
	child.Set(Str("text", "a\xffb"), Int("n", 3), Bool("yes", true))
	child.Fail("no luck")
	child.End()
	child.End()
	root.Link(child.Context(), Context{}, child.Context(), theirs)
	root.End()
	next.End()
	if late := root.Child("late", Internal); late != nil {
		t.Error("a span that has ended has a child")
	}
	if len(rec.ended) != 3 {
		t.Fatalf("%d spans recorded, want each once", len(rec.ended))
	}
	c, r, n := rec.ended[0], rec.ended[1], rec.ended[2]
	switch {
	case c.Parent != r.Context || c.Context.Trace != r.Context.Trace || c.Remote || c.Failed != "no luck":
		t.Errorf("child %+v of %+v", c, r)
	case r.Parent.Valid() || !r.Began.Equal(began) || r.Ended.Sub(r.Began) < time.Hour:
		t.Errorf("root %+v", r)
	case len(r.Links) != 2:
		t.Errorf("links %v, want each once and none that names nothing", r.Links)
	case n.Parent != theirs || !n.Remote || n.Context.Trace != theirs.Trace || n.Context.Span == theirs.Span:
		t.Errorf("continued %+v", n)
	case c.Attrs[0] != Attr{"text", "a\uFFFDb"} || c.Attrs[1] != Attr{"n", int64(3)} || c.Attrs[2] != Attr{"yes", true}:
		t.Errorf("attributes %v", c.Attrs)
	case len(rec.roots) != 2 || rec.roots[0].Valid() || rec.roots[1] != theirs:
		t.Errorf("asked about spans below %v: a child is recorded with its parent", rec.roots)
	}
	rec.none = true
	if tr.Start("root", Server, began) != nil {
		t.Error("a span that is not sampled is there")
	}
}

func TestBounds(t *testing.T) {
	rec := &kept{}
	s := New(rec).Start("a", Internal, time.Time{})
	for i := range 10 * MaxAttrs {
		s.Set(Int("n", int64(i)), Str("t", strings.Repeat("ä", 1000)))
		s.Link(Context{Trace: [16]byte{1}, Span: [8]byte{1, byte(i)}})
	}
	s.Fail(strings.Repeat("x", 1000))
	s.End()
	d := rec.ended[0]
	if len(d.Attrs) != MaxAttrs || len(d.Links) != MaxLinks || len(d.Failed) > maxText {
		t.Errorf("%d attributes, %d links, %d bytes of failure", len(d.Attrs), len(d.Links), len(d.Failed))
	}
	for _, a := range d.Attrs {
		if text, ok := a.Value.(string); ok && len(text) > maxText+4 {
			t.Errorf("an attribute of %d bytes", len(text))
		}
	}
}

// Samplers decide by the second half of a trace's id: every bit of it must be chance.
func TestTraceIDsAreChance(t *testing.T) {
	var ones [64]int
	const n = 4000
	for range n {
		id := newTraceID()
		for bit := range ones {
			ones[bit] += int(id[8+bit/8]>>(bit%8)) & 1
		}
	}
	for bit, k := range ones {
		if k < n/3 || k > 2*n/3 {
			t.Errorf("bit %d is set in %d of %d", bit, k, n)
		}
	}
}
