package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/launchdarkly/eventsource"
	gosse "github.com/tmaxmax/go-sse"
)

// tapeLength is how many events a client reads; the second half is produced after its third reconnection.
const tapeLength = 100

// cuts are where the first connections of a client are cut: in the first event or near it, and twice within the replay of
// the first half.
func cuts() []int64 { return []int64{420, 1001, 1502} }

// startCutTape is a gateway over a tape, and a cutter before it.
func startCutTape(t *testing.T) (url string) {
	t.Helper()
	p, endpoint := startTapes(t)
	g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")})
	p.allow("a", tapeLength/2)
	c := startCutter(t, g.http, false, cuts()...)
	c.onReconnect(t, len(cuts())+1, func() { p.allow("a", tapeLength) })
	return c.url("/tapes/1.0.0/t/a")
}

// judge compares what a client dispatched with the tape: nothing lost, doubled, reordered, empty or of the gateway.
func judge(t *testing.T, got []event) {
	t.Helper()
	seen := map[string]bool{}
	for _, ev := range got {
		if ev.ID == "" || seen[ev.ID] {
			t.Errorf("event %q %q: id %q is empty or seen before", ev.Type, ev.Data, ev.ID)
		}
		seen[ev.ID] = true
	}
	if diff := cmp.Diff(wantTape(tapeLength), withoutIDs(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestGoSSE reads through three cuts with github.com/tmaxmax/go-sse, which would dispatch an empty event for a blank line
// behind the retry line.
func TestGoSSE(t *testing.T) {
	t.Parallel()
	url := startCutTape(t)
	ctx, cancel := context.WithCancel(deadline(t))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := gosse.Client{HTTPClient: fresh(t), ResponseValidator: gosse.DefaultValidator, Backoff: gosse.DefaultClient.Backoff}
	conn := client.NewConnection(req)
	var got []event
	conn.SubscribeToAll(func(ev gosse.Event) {
		if len(got) == tapeLength {
			return
		}
		typ := ev.Type
		if typ == "" {
			typ = "message"
		}
		got = append(got, event{Type: typ, Data: ev.Data, ID: ev.LastEventID})
		if len(got) == tapeLength {
			cancel()
		}
	})
	if err := conn.Connect(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v after %d events", err, len(got))
	}
	judge(t, got)
}

// TestLaunchDarklyGo does the same with github.com/launchdarkly/eventsource.
func TestLaunchDarklyGo(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	stream, err := eventsource.SubscribeWithURL(startCutTape(t), eventsource.StreamOptionHTTPClient(fresh(t)),
		eventsource.StreamOptionCanRetryFirstConnection(-1),
		eventsource.StreamOptionErrorHandler(func(error) eventsource.StreamErrorHandlerResult {
			return eventsource.StreamErrorHandlerResult{}
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var got []event
	for len(got) < tapeLength {
		select {
		case ev := <-stream.Events:
			typ := ev.Event()
			if typ == "" {
				typ = "message"
			}
			got = append(got, event{Type: typ, Data: ev.Data(), ID: ev.Id()})
		case <-ctx.Done():
			t.Fatalf("%d events: %v", len(got), ctx.Err())
		}
	}
	judge(t, got)
}

// TestCutAtEveryByte cuts a replay of three events at each of its bytes and resumes with the last id that was complete: the
// two parts together are the three events, whatever the cut.
func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	const events = 3
	ctx := deadline(t)
	p, endpoint := startTapes(t)
	g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")})
	p.allow("a", events)
	url := g.url("/tapes/1.0.0/t/a")
	client := fresh(t)
	whole, ids := replay(ctx, t, client, url, events)
	for cut := range len(whole) + 1 {
		var got []event
		last := ""
		s := &strict{r: reader(whole[:cut])}
		for {
			ev, err := s.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			got, last = append(got, ev), s.last
		}
		if len(got) < events {
			rest, body, err := open(ctx, client, url, last)
			if err != nil {
				t.Fatalf("cut at %d: resume at %q: %v", cut, last, err)
			}
			for len(got) < events {
				ev, err := rest.next()
				if err != nil {
					t.Fatalf("cut at %d: after resume at %q: %v", cut, last, err)
				}
				got = append(got, ev)
			}
			_ = body.Close()
		}
		for i, ev := range got {
			if ev.ID != ids[i] {
				t.Fatalf("cut at %d: event %d has id %s, want %s", cut, i, ev.ID, ids[i])
			}
		}
		if diff := cmp.Diff(wantTape(events), withoutIDs(got)); diff != "" {
			t.Fatalf("cut at %d: -want +got:\n%s", cut, diff)
		}
	}
}

// replay is the bytes of the first n events of a stream, and their ids.
func replay(ctx context.Context, t *testing.T, client *http.Client, url string, n int) (raw []byte, ids []string) {
	t.Helper()
	s, body, err := open(ctx, client, url, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	tee := &tee{from: s.r}
	s.r = reader1(tee)
	for range n {
		ev, err := s.next()
		if err != nil {
			t.Fatal(fmt.Errorf("replay: %w", err))
		}
		ids = append(ids, ev.ID)
	}
	return tee.seen, ids
}
