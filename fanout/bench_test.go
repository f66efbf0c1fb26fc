package fanout

import (
	"testing"

	"sluice/internal/broker"
)

// Guards: no allocation, and a cost that does not grow with the log.
func BenchmarkLogAppend(b *testing.B) {
	l := NewLog(LogConfig{})
	f := testFrame(1, 200)
	b.ReportAllocs()
	for b.Loop() {
		f.Pos.Seq++
		l.Append(f)
		l.Publish()
	}
}

// Guards: a reader's look at the log is two loads and a slice.
func BenchmarkLogView(b *testing.B) {
	l := NewLog(LogConfig{})
	for s := uint64(1); s < 20_000; s++ {
		l.Append(testFrame(s, 200))
	}
	l.Publish()
	c := l.View().Head() - 2000
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		p, _ := l.View().Bytes(c, 64<<10)
		n += len(p)
	}
	if n == 0 {
		b.Fatal("nothing read")
	}
}

// Guards: finding a position is a binary search.
func BenchmarkAfter(b *testing.B) {
	l := NewLog(LogConfig{})
	for s := uint64(1); s < 30_000; s++ {
		l.Append(testFrame(2*s, 200))
	}
	l.Publish()
	p := broker.Position(at(40_000))
	b.ReportAllocs()
	for b.Loop() {
		if _, r := l.After(p); r != Exact {
			b.Fatal(r)
		}
	}
}
