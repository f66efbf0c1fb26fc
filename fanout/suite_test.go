package fanout_test

import (
	"net/http"
	"testing"
	"time"

	"sluice/fanout"
	"sluice/fanout/fanouttest"
)

// TestPortableEngine runs the suite of both engines on this one.
func TestPortableEngine(t *testing.T) {
	fanouttest.Run(t, func(_ testing.TB, s fanouttest.Settings) fanouttest.Launched {
		p := fanout.NewPortable(fanout.PortableConfig{Slow: s.Slow, Heartbeat: s.Heartbeat, EndBytes: s.EndBytes, Coalesce: s.Coalesce})
		return fanouttest.Launched{
			Engine: p,
			Serve: func(w http.ResponseWriter, r *http.Request, sub fanout.Subscriber, first []byte, chunked bool) {
				h := w.Header()
				h.Set("Content-Type", "text/event-stream")
				h.Set("Connection", "close")
				if !chunked {
					h.Set("Transfer-Encoding", "identity")
				}
				w.WriteHeader(http.StatusOK)
				sub.Head = first
				s.Ended(sub.Meta, p.Serve(r.Context(), sink{w, http.NewResponseController(w)}, sub))
			},
			Stop: func() {},
		}
	})
}

type sink struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s sink) Write(p []byte) (int, error)         { return s.w.Write(p) }
func (s sink) Flush() error                        { return s.rc.Flush() }
func (s sink) SetWriteDeadline(at time.Time) error { return s.rc.SetWriteDeadline(at) }
