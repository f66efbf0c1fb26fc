//go:build linux

package shard

import (
	"context"
	"net/http"
	"testing"

	"sluice/fanout"
	"sluice/fanout/fanouttest"
)

// The suite that the portable engine passes too, over hijacked connections.
func TestSuite(t *testing.T) {
	fanouttest.Run(t, func(t testing.TB, s fanouttest.Settings) fanouttest.Launched {
		e, err := New(Config{Shards: 2, Slow: s.Slow, Heartbeat: s.Heartbeat, Coalesce: s.Coalesce, EndBytes: s.EndBytes, Ended: s.Ended})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		return fanouttest.Launched{
			Engine:     e,
			OwnFraming: true,
			Serve: func(w http.ResponseWriter, _ *http.Request, sub fanout.Subscriber, first []byte, chunked bool) {
				conn, brw, err := http.NewResponseController(w).Hijack()
				if err != nil || brw.Reader.Buffered() > 0 {
					t.Errorf("hijack: %v", err)
					return
				}
				head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
				if chunked {
					head += "Transfer-Encoding: chunked\r\n"
					first = fanout.AppendChunk(nil, first)
				}
				sub.Head = append([]byte(head+"\r\n"), first...)
				if err := e.Adopt(conn, sub); err != nil {
					conn.Close()
					s.Ended(sub.Meta, fanout.End{Reason: fanout.EndError})
				}
			},
			Stop: func() {
				cancel()
				if err := <-done; err != nil {
					t.Errorf("Run: %v", err)
				}
			},
		}
	})
}
