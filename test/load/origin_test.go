package load

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"sluice/internal/sse"
)

// TestOriginServesAndResumes reads the origin as a gateway would: live, after an id of this run, after a foreign one.
func TestOriginServesAndResumes(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	o, err := newOrigin(ctx, "127.0.0.1:0", 2, 1296)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- o.run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	publish := func(from, to int64) {
		for n := from; n <= to; n++ {
			if err := o.publish(ctx, 1, n, fmt.Appendf(nil, "d%d", n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// read opens topic 1 under a path, lets more happen once it stands, and wants so many events from n on.
	read := func(path, lastID string, from, to int64, more func()) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.ln.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Last-Event-ID", lastID)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		more()
		d := sse.NewDecoder(resp.Body, sse.Options{})
		for n := from; n <= to; n++ {
			ev, err := d.Next()
			if want := fmt.Sprintf("d%d 100-%d", n, n); err != nil || string(ev.Data)+" "+string(ev.ID) != want {
				t.Fatalf("got %s %s, %v; want %s", ev.Data, ev.ID, err, want)
			}
		}
	}
	publish(1, 3)
	read("/t/1", "", 4, 5, func() { publish(4, 5) })
	read("/t/3", "100-2", 3, 6, func() { publish(6, 6) })
	read("/t/1", "zz-2", 7, 7, func() { publish(7, 7) })
	read("/t/1", "100-99", 8, 8, func() { publish(8, 8) })

	limit, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := o.ready(limit); err == nil {
		t.Error("ready although nobody reads topic 0")
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestOriginKeepsABoundedPast(t *testing.T) {
	o := &origin{prefix: "r-", topics: make([]originTopic, 1)}
	o.topics[0].changed = make(chan struct{})
	for n := range int64(originKeeps + 10) {
		if err := o.publish(t.Context(), 0, n+1, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	frames, _ := o.topics[0].from(1)
	if len(frames) > originKeeps || !bytes.Contains(frames[len(frames)-1], fmt.Appendf(nil, "id: r-%d\n", originKeeps+10)) {
		t.Errorf("%d frames, the last %s", len(frames), frames[len(frames)-1])
	}
}
