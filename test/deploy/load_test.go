package deploy

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
)

// apiFile is the definition of an API with one always-on topic of ticks, one on demand and one that wants a credential.
func apiFile(name, endpoint string) string {
	return fmt.Sprintf(`apiVersion: sluice/v1
kind: API
metadata: {name: %[1]s}
spec:
  context: /%[1]s
  version: 1.0.0
  endpoint: %[2]s
  state: PUBLISHED
  retention: {maxAge: 1h, maxEvents: 10000, maxBytes: 16MiB}
  topics:
    - {name: /ticks, backend: /stream/ticks, security: none}
    - {name: '/any/*', backend: '/stream/any/{*}', security: none}
    - {name: /secret, backend: /stream/any/secret}
`, name, endpoint)
}

// market is an upstream with so many ticks per second, gone at the end of the test.
func market(t *testing.T, perSecond float64) (*feed.Market, string) {
	t.Helper()
	m := feed.New(1, feed.Options{Rate: perSecond})
	srv := httptest.NewServer(m)
	t.Cleanup(func() { m.Close(); srv.Close() })
	return m, srv.URL
}

// client is one open stream.
type client struct {
	t    *testing.T
	resp *http.Response
	r    *bufio.Reader
}

// open asks for a path; headers are name and value in turn.
func open(t *testing.T, url string, headers ...string) *client {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	hc := gateway.OneShot()
	hc.Timeout = 0
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t, resp, bufio.NewReader(resp.Body)}
	t.Cleanup(c.close)
	return c
}

func (c *client) close() { c.resp.Body.Close() }

// id reads up to the next event and returns its id.
func (c *client) id() string {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("status %d: %v", c.resp.StatusCode, err)
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			return strings.TrimSpace(id)
		}
	}
}

// use does with an API what clients do: streams, exact and useless resumes, unknown topics, missing credentials, a feed on
// demand, and it leaves two streams open.
func use(t *testing.T, base string) {
	t.Helper()
	c := open(t, base+"/ticks")
	id := c.id()
	c.close()
	open(t, base+"/ticks", "Last-Event-ID", id).id()
	open(t, base+"/any/one").id()
	bad := open(t, base+"/ticks", "Last-Event-ID", "banana")
	bad.id()
	bad.close()
	for path, status := range map[string]int{"/nothing": http.StatusUnauthorized, "/secret": http.StatusUnauthorized} {
		x := open(t, base+path, "Accept", "*/*")
		if x.resp.StatusCode != status {
			t.Errorf("%s%s: %d", base, path, x.resp.StatusCode)
		}
		x.close()
	}
}
