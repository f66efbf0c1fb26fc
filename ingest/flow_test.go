package ingest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestEventsAreStoredInOrder(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	var text, want strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "event: tick\nid: %d\ndata: e%d\n\n", i, i)
		fmt.Fprintf(&want, "e%d ", i)
	}
	r.up.set(func(w http.ResponseWriter, q *http.Request) { r.up.stream(w, q, text.String()) })
	r.run()
	f := feedOf("/ticks")
	r.wantTexts(f, strings.TrimSuffix(want.String(), " "))
	msgs := r.stored(f)
	prev := uint64(0)
	for i, m := range msgs {
		if m.Link != prev || m.UpstreamID != fmt.Sprint(i) || m.Rx == 0 || m.Epoch == 0 {
			t.Fatalf("event %d: %+v, want link %d", i, m, prev)
		}
		prev = m.Seq
	}
	if got := string(msgs[7].Body); got != "event: tick\ndata: e7\n" {
		t.Errorf("body is %q", got)
	}
	st := r.status("/ticks")
	if st.State != "up" || st.Events != 3000 || st.Seq != prev || st.Opens != 1 || st.Markers != 0 || st.Node != "n1" {
		t.Errorf("status: %+v", st)
	}
	if st.EventsPerSecond <= 0 || st.LagMs != 0 {
		t.Errorf("%v events per second, lag %d ms with nothing queued", st.EventsPerSecond, st.LagMs)
	}
	q := r.up.requests()[0]
	if q.Method != "GET" || q.Header.Get("Accept") != "text/event-stream" || q.Header.Get("Accept-Encoding") != "identity" ||
		q.Header.Get("User-Agent") != "sluice" || q.Header.Get("Last-Event-ID") != "" {
		t.Errorf("request: %v", q.Header)
	}
}
