package ingest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"sluice/internal/broker"
)

// hostile answers each request in another way, chosen by chance.
type hostile struct {
	mu  sync.Mutex
	rng *rand.Rand
	n   int // events sent
}

func (h *hostile) serve(c net.Conn, req *http.Request) {
	h.mu.Lock()
	kind := h.rng.IntN(10)
	h.n += 3
	text := fmt.Sprintf("id: %d\ndata: a\n\nid: %d\ndata: b\n\nid: %d\ndata: c\n\n", h.n-2, h.n-1, h.n)
	h.mu.Unlock()
	stay := true
	switch kind {
	case 0: // no answer
	case 1:
		fmt.Fprint(c, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
	case 2:
		fmt.Fprintf(c, "HTTP/1.1 302 Found\r\nLocation: %s?again\r\nContent-Length: 0\r\n\r\n", req.URL.Path)
	case 3: // an event that is never finished
		fmt.Fprint(c, okHead, text, "data: half")
	case 4:
		fmt.Fprint(c, okHead, text)
		stay = false
	case 5: // half a head
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Ty")
	case 6:
		fmt.Fprint(c, "HTTP/1.1 204 No Content\r\n\r\n")
	default:
		fmt.Fprint(c, okHead, text)
	}
	if stay {
		_, _ = io.Copy(io.Discard, c) // until the other side closes
	}
}

// TestOneConnectionPerFeed does to two feeds what may end a connection or a tenure, in any order: answers of all kinds, other
// writers, a stolen lease, changed definitions, clients that come and go. Whenever nothing moves any more, no feed has two
// connections, and in the end none is left.
func TestOneConnectionPerFeed(t *testing.T) {
	const topics = "  topics:\n    - {name: /ticks, security: none}\n    - {name: '/q/{s}', linger: 3s, security: none}\n"
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	h := &hostile{rng: rand.New(rand.NewPCG(seed, 2))}
	inBubble(t, topics, h.serve, func(b *bubble) {
		feeds := []broker.FeedID{feedOf("/ticks"), feedOf("/q/a")}
		for step := range 400 {
			f := feeds[rng.IntN(2)]
			what := rng.IntN(6)
			switch what {
			case 0: // another writer
				last, _ := b.m.Writer().Last(b.t.Context(), f)
				_, _ = b.m.Writer().Commit(b.t.Context(), f, &broker.Commit{Epoch: 1, Tx: uint64(step), Prev: last.Seq,
					Events: []broker.Event{{Body: []byte("data: other\n")}}})
			case 1: // another owner
				if e, err := b.own.Get(b.t.Context(), f.String()); err == nil {
					_, _ = b.own.Put(b.t.Context(), f.String(), []byte(`{"node":"n2","boot":"x"}`), e.Revision)
				}
			case 2: // another definition: headers that need a new connection
				_, err := b.cat.Replace(bubbleAPI(fmt.Sprintf("  upstream: {headers: {X-Step: '%d'}}\n", step/3) + topics))
				b.check(err)
			case 3:
				b.want("e1", "x", "/q/a")
			case 4:
				b.want("e1", "x")
			}
			b.after(time.Duration(rng.Int64N(int64(20 * time.Second))))
			for path, n := range b.connections() {
				if n > 1 {
					b.t.Fatalf("step %d (%d): %d connections for %q\n%s", step, what, n, path, b.log)
				}
			}
		}
		b.check(b.s.Drain(b.t.Context()))
		if n := b.connections(); len(n) != 0 {
			b.t.Errorf("connections %v are left after the drain", n)
		}
		if len(b.asked) < 50 {
			b.t.Errorf("only %d requests", len(b.asked))
		}
	})
}
