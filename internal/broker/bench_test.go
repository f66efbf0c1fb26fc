package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// BenchmarkCommit stores events of 200 bytes on one feed, 512 a commit. It guards the
// pipelined commit: window=1 is what waiting for each answer costs.
func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		profile string
		window  int
	}{{ProfileProcess, 64}, {ProfileProcess, 256}, {ProfileProcess, 1}, {ProfileMemory, 64}} {
		b.Run(fmt.Sprintf("%s/window=%d", c.profile, c.window), func(b *testing.B) {
			n := openNode(b, Config{Durability: c.profile, Window: c.window})
			f := ensure(b, n, StreamSpec{Name: "bench", MaxEvents: 100_000})
			es := make([]Event, 512)
			for i := range es {
				es[i] = Event{Body: []byte("data: " + strings.Repeat("x", 193) + "\n"), UpstreamID: fmt.Sprint(i), Rx: 1700000000000000}
			}
			b.ReportAllocs()
			var prev, tx uint64
			for b.Loop() {
				tx++
				p, err := n.Writer().Commit(b.Context(), f, &Commit{Epoch: 1, Tx: tx, Prev: prev, Events: es})
				if err != nil {
					b.Fatal(err)
				}
				prev = p.Seq
			}
			b.ReportMetric(float64(b.N*len(es))/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkLive receives events of 200 bytes: what an edge pays once per event, apart
// from the connection's reader (the parsing of its headers is counted).
func BenchmarkLive(b *testing.B) {
	f := NewFeedID("test", "1", "/ticks", "")
	sub := &nats.Subscription{}
	l := newLive("bench", nil, 1024, nil, func(*live) {})
	l.subs[sub] = &liveSub{feed: f, subject: "ev.a.b"}
	raw := []byte(placed(1_795_432_604_053_680, 1_795_432_604_053_679, "Sse-Tx: 6k.2s.a", "Sse-Prev: 1795432604053679",
		"Sse-Id: 12345", "Sse-Rx: gv7qs2q8w0", "Nats-Expected-Last-Subject-Sequence: 1795432604053679",
		"Nats-Expected-Last-Sequence: 1795432604053679"))
	body := []byte("data: " + strings.Repeat("x", 193) + "\n")
	buf := make([]Delivery, 64)
	b.ReportAllocs()
	for b.Loop() {
		h, err := nats.DecodeHeadersMsg(raw)
		if err != nil {
			b.Fatal(err)
		}
		l.queue <- &nats.Msg{Subject: "live.a.b", Header: h, Data: body, Sub: sub}
		if n, err := l.Next(b.Context(), buf); n != 1 || err != nil || buf[0].Err != nil {
			b.Fatal(n, err, buf[0].Err)
		}
	}
}

// BenchmarkDirectRead reads whole blocks of 256 events of 200 bytes: what a resume storm
// costs per block.
func BenchmarkDirectRead(b *testing.B) {
	n := openNode(b, Config{})
	f := ensure(b, n, StreamSpec{Name: "bench"})
	es := make([]Event, 512)
	for i := range es {
		es[i] = Event{Body: []byte("data: " + strings.Repeat("x", 193) + "\n"), UpstreamID: fmt.Sprint(i)}
	}
	p, err := n.Writer().Commit(b.Context(), f, &Commit{Epoch: 1, Tx: 1, Events: es})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var block Block
	for b.Loop() {
		if err := n.Direct().Read(b.Context(), f, From{Seq: p.Seq - 400}, &block); err != nil {
			b.Fatal(err)
		}
		if len(block.Messages) != BlockMessages {
			b.Fatalf("block of %d", len(block.Messages))
		}
	}
}
