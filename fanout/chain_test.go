package fanout

import (
	"testing"

	"sluice/internal/broker"
)

// TestChain judges every way a live message can stand to the newest event appended. Invariant 6.
func TestChain(t *testing.T) {
	newest := broker.Position{Seq: 100, Micros: 5000}
	for _, c := range []struct {
		name string
		c    broker.Position
		pos  broker.Position
		link uint64
		last uint64
		want link
	}{
		{"the one that follows", newest, broker.Position{Seq: 104, Micros: 6000}, 100, 100, linkNext},
		{"follows one that expired meanwhile", newest, broker.Position{Seq: 104, Micros: 6000}, 100, 0, linkNext},
		{"first event of an empty feed", broker.Position{}, broker.Position{Seq: 7, Micros: 10}, 0, 0, linkNext},
		{"one was lost before it", newest, broker.Position{Seq: 108, Micros: 7000}, 104, 104, linkBroken},
		{"lost and expired before it", newest, broker.Position{Seq: 108, Micros: 7000}, 104, 0, linkBroken},
		{"seen already", newest, newest, 99, 99, linkDouble},
		{"older than the newest", newest, broker.Position{Seq: 98, Micros: 4000}, 97, 97, linkDouble},
		{"same sequence, later time: another life", newest, broker.Position{Seq: 100, Micros: 9000}, 99, 99, linkBack},
		{"lower sequence, later time: another life", newest, broker.Position{Seq: 3, Micros: 9000}, 0, 0, linkBack},
		{"history behind an empty log", broker.Position{}, broker.Position{Seq: 7, Micros: 10}, 6, 6, linkBroken},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := chain(c.c, &broker.Message{Position: c.pos, Link: c.link}, c.last); got != c.want {
				t.Errorf("chain = %d, want %d", got, c.want)
			}
		})
	}
}
