package conformance

import (
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDrain reads the end of a stream at a drain: a retry line of its own, gateway.end, a close on an event boundary. The
// next process resumes where it stopped.
func TestDrain(t *testing.T) {
	t.Parallel()
	const events = 10
	ctx := deadline(t)
	p, endpoint := startTapes(t)
	g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")}, quickDrain(t)...)
	p.allow("a", events)
	url := g.url("/tapes/1.0.0/t/a")
	s, body, err := open(ctx, fresh(t), url, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	var got []event
	for len(got) < events {
		ev, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ev)
	}
	g.drain()
	ev, err := s.next()
	if err != nil {
		t.Fatal(err)
	}
	var end struct {
		Reason       string
		Retryable    bool
		RetryAfterMs int
	}
	if err := json.Unmarshal([]byte(ev.Data), &end); err != nil {
		t.Fatal(err)
	}
	if ev.Type != "gateway.end" || ev.ID != "" || end.Reason != "drain" || !end.Retryable ||
		end.RetryAfterMs < 100 || end.RetryAfterMs > 2000 || s.retry != strconv.Itoa(end.RetryAfterMs) {
		t.Errorf("end %+v behind retry %s", ev, s.retry)
	}
	if ev, err := s.next(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %+v, %v", ev, err)
	}

	g.start()
	p.allow("a", events+1)
	s, body, err = open(ctx, fresh(t), url, s.last)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	ev, err = s.next()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantTape(events+1), withoutIDs(append(got, ev))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
