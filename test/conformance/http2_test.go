package conformance

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// h2Client speaks HTTP/2 over TLS and counts the connections it opens. The certificate is the self-signed one of --dev-tls.
func h2Client(t *testing.T) (*http.Client, *atomic.Int64) {
	dialed := new(atomic.Int64)
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // loopback, self-signed
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialed.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}, dialed
}

// TestHTTP2Streams reads the same 50 events on each of 100 streams over one connection.
func TestHTTP2Streams(t *testing.T) {
	t.Parallel()
	const streams, events = 100, 50
	p, endpoint := startTapes(t)
	g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")}, "--dev-tls")
	url := "https://" + g.https + "/tapes/1.0.0/t/a"
	ctx := deadline(t)
	client, dialed := h2Client(t)
	// One request first, so that the connection stands before a hundred ask for one.
	res, err := client.Head(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.ProtoMajor != 2 {
		t.Fatalf("protocol %s, want HTTP/2", res.Proto)
	}
	got := make([][]event, streams)
	var opened, done sync.WaitGroup
	opened.Add(streams)
	for i := range streams {
		done.Go(func() {
			s, body, err := open(ctx, client, url, "")
			opened.Done()
			if err != nil {
				t.Errorf("stream %d: %v", i, err)
				return
			}
			defer func() { _ = body.Close() }()
			for len(got[i]) < events {
				ev, err := s.next()
				if err != nil {
					t.Errorf("stream %d after %d events: %v", i, len(got[i]), err)
					return
				}
				got[i] = append(got[i], ev)
			}
		})
	}
	p.allow("a", events/2)
	opened.Wait()
	p.allow("a", events)
	done.Wait()
	if n := dialed.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	for i := range got {
		if diff := cmp.Diff(got[0], got[i]); diff != "" {
			t.Fatalf("stream %d differs from stream 0:\n%s", i, diff)
		}
	}
	if diff := cmp.Diff(wantTape(events), withoutIDs(got[0])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// problem is the answer to a refused request.
type problem struct {
	status int
	kind   string // media type
	Type   string `json:"type"`
	Status int    `json:"status"`
}

func ask(ctx context.Context, t *testing.T, client *http.Client, url string) problem {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	p := problem{status: res.StatusCode, kind: res.Header.Get("Content-Type")}
	if p.status != http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
			t.Errorf("%s: body of status %d: %v", url, p.status, err)
		}
	}
	return p
}

// TestTransports asks for an API on a listener that it does not answer on.
func TestTransports(t *testing.T) {
	t.Parallel()
	p, endpoint := startTapes(t)
	p.allow("a", 1)
	g := startGateway(t, []string{
		tapesAPI("secure", endpoint, "  transports: [https]\n"),
		tapesAPI("plain", endpoint, "  transports: [http]\n"),
	}, "--dev-tls")
	ctx := deadline(t)
	client, _ := h2Client(t)
	const media = "application/problem+json"
	for _, c := range []struct {
		url  string
		want problem
	}{
		{g.url("/secure/1.0.0/t/a"), problem{403, media, "/problems/https-required", 403}},
		{"https://" + g.https + "/plain/1.0.0/t/a", problem{403, media, "/problems/transport-not-allowed", 403}},
		{"https://" + g.https + "/secure/1.0.0/t/a", problem{status: 200, kind: "text/event-stream"}},
		{g.url("/plain/1.0.0/t/a"), problem{status: 200, kind: "text/event-stream"}},
		{g.url("/plain/1.0.0/locked/a"), problem{401, media, "/problems/missing-token", 401}},
	} {
		if got := ask(ctx, t, client, c.url); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.url, got, c.want)
		}
	}
}
