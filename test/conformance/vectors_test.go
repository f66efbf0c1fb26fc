package conformance

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/sse/ssetest"
)

// sentinel is the event that a vector's backend sends behind the vector.
const sentinel = "event: sentinel\ndata: end\n\n"

// vectorFeeds are the vectors, each behind a backend path and a topic of the gateway.
type vectorFeeds struct {
	rows    []ssetest.Vector
	connect []atomic.Int64 // connects of the gateway per vector
}

// startVectors serves every vector at /v/<row>. The sentinel follows on the same connection; where its leading blank lines
// would complete what the vector leaves unfinished, it follows on the next connection, since the end of a stream discards.
func startVectors(t *testing.T) (*vectorFeeds, string) {
	t.Helper()
	rows, err := ssetest.Load("../../internal/sse/testdata/vectors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := &vectorFeeds{rows: rows, connect: make([]atomic.Int64, len(rows))}
	srv := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	api := definition("vec", srv.URL, `  upstream: {resume: 'off'}
  topics:
    - {name: '/v/{row}', params: {row: '^[0-9]{1,4}$'}, security: none, start: earliest}
`)
	return f, api
}

func (f *vectorFeeds) serve(w http.ResponseWriter, r *http.Request) {
	i, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/v/"))
	if err != nil || i >= len(f.rows) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	first := f.connect[i].Add(1) == 1
	switch in := f.rows[i].In; {
	case first && unfinished(f.rows[i]):
		_, _ = io.WriteString(w, in)
		return
	case first:
		_, _ = io.WriteString(w, in+"\n\n"+sentinel)
	default:
		_, _ = io.WriteString(w, sentinel)
	}
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// unfinished says that the vector ends inside a line or inside an event that has data. A vector without events but a retry
// is finished: waiting for a reconnection after a million seconds would prove nothing.
func unfinished(v ssetest.Vector) bool {
	plain := strings.ReplaceAll(strings.ReplaceAll(v.In, "\r\n", "\n"), "\r", "\n")
	if plain == "" || strings.HasSuffix(plain, "\n\n") || strings.HasPrefix(v.In, "retry") {
		return false
	}
	return strings.Trim(plain, "\n\ufeff") != "" && !strings.HasSuffix(plain, ":\n")
}

// wantVector is what a client behind the gateway dispatches for the vector.
func wantVector(v ssetest.Vector) []event {
	out := []event{}
	for _, ev := range v.Events {
		typ := strings.ReplaceAll(ev.Type, "\x00", "\ufffd") // control characters in a type become U+FFFD
		if strings.HasPrefix(typ, "gateway.") {
			typ = "upstream." + typ
		}
		out = append(out, event{Type: typ, Data: ev.Data})
	}
	return out
}

// seam says that the event is the gateway's note that its backend closed and sends no ids.
func seam(ev event) bool {
	return ev.Type == "gateway.gap" && strings.Contains(ev.Data, `"upstream-no-id"`)
}

// TestVectorsThroughGateway sends every parse vector through backend, ingest, broker, fan-out and edge, and reads what the
// standard says is dispatched: no more, no less, in order, under ids of the gateway.
func TestVectorsThroughGateway(t *testing.T) {
	f, api := startVectors(t)
	g := startGateway(t, []string{api})
	for i, v := range f.rows {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			ctx := deadline(t)
			s, body, err := open(ctx, fresh(t), g.url(fmt.Sprintf("/vec/1.0.0/v/%d", i)), "")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = body.Close() }()
			got, ids := []event{}, map[string]bool{}
			for {
				ev, err := s.next()
				if err != nil {
					t.Fatalf("after %d events: %v", len(got), err)
				}
				if ev.Type == "sentinel" {
					break
				}
				if unfinished(v) && seam(ev) {
					continue
				}
				if ids[ev.ID] {
					t.Errorf("id %s twice", ev.ID)
				}
				ids[ev.ID] = true
				got = append(got, event{Type: ev.Type, Data: ev.Data})
			}
			if diff := cmp.Diff(wantVector(v), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestRenamedTypes sends types that would pass for the gateway's own.
func TestRenamedTypes(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: gateway.end\ndata: {\"reason\":\"drain\"}\n\nevent: gateway.\ndata: a\n\nevent: Gateway.end\ndata: b\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	g := startGateway(t, []string{definition("fake", srv.URL, "  topics: [{name: /all, security: none, start: earliest}]\n")})
	s, body, err := open(deadline(t), fresh(t), g.url("/fake/1.0.0/all"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	var got []event
	for range 3 {
		ev, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ev)
	}
	want := []event{
		{Type: "upstream.gateway.end", Data: `{"reason":"drain"}`},
		{Type: "upstream.gateway.", Data: "a"},
		{Type: "Gateway.end", Data: "b"},
	}
	if diff := cmp.Diff(want, withoutIDs(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
