package load

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// engine owns the connections of a cell. Its methods may be called from any goroutine; clients are named by index.
type engine interface {
	// run serves the connections until ctx ends, closes all and returns when its goroutines are gone.
	run(ctx context.Context) error
	// open connects a client at a time, with Last-Event-ID if it holds an id. A returning one is timed until it is back.
	open(client int, at time.Time, returning bool)
	// leave closes a client's connection; it stays away until open.
	leave(client int)
	// books are where the engine's workers add up.
	books() []*book
	// clients are all clients by index. Only after run has returned may they be read.
	clients() []*client
}

const (
	defaultRetry = time.Second            // how long a client waits that was told nothing
	dialRetry    = 250 * time.Millisecond // after a connection that did not come up
	maxRetry     = 30 * time.Second
)

// target is where the clients connect to, prepared.
type target struct {
	url     *url.URL
	header  http.Header
	heads   [][]byte // by topic: the request without Last-Event-ID and without its last empty line
	addr    *net.TCPAddr
	topics  int
	sources int // local addresses to spread clients over; 0 = the system's choice
}

// topicURL replaces {topic} and %d by the number of a topic.
func topicURL(text string, topic int) string {
	n := strconv.Itoa(topic)
	return strings.ReplaceAll(strings.ReplaceAll(text, "{topic}", n), "%d", n)
}

// clientsPerSource is how many connections one local address is used for, of 28,232 ports that Linux gives out.
const clientsPerSource = 20_000

// newTarget resolves the URL once and prepares a request per topic.
func newTarget(ctx context.Context, c *Cell) (*target, error) {
	u, err := url.Parse(topicURL(c.URL, 0))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not an http or https URL", c.URL)
	}
	t := &target{url: u, header: c.Header.Clone(), topics: c.Topics}
	if t.header == nil {
		t.header = http.Header{}
	}
	if t.header.Get("Accept") == "" {
		t.header.Set("Accept", "text/event-stream")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if t.addr, err = resolve(ctx, u.Hostname(), port); err != nil {
		return nil, err
	}
	if total := c.Clients + c.Slow; total > clientsPerSource && t.addr.IP.IsLoopback() && t.addr.IP.To4() != nil {
		t.sources = (total + clientsPerSource - 1) / clientsPerSource
	}
	for topic := range c.Topics {
		u, err := url.Parse(topicURL(c.URL, topic))
		if err != nil {
			return nil, fmt.Errorf("%q is not a URL: %w", topicURL(c.URL, topic), err)
		}
		head := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n", u.RequestURI(), u.Host)
		for _, name := range sortedKeys(t.header) {
			for _, v := range t.header[name] {
				head = fmt.Appendf(head, "%s: %s\r\n", name, v)
			}
		}
		t.heads = append(t.heads, head)
	}
	return t, nil
}

// resolve finds one address, IPv4 first: many local addresses are easy only there.
func resolve(ctx context.Context, host, port string) (*net.TCPAddr, error) {
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", port, err)
	}
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("host %q: %w", host, err)
	}
	slices.SortStableFunc(ips, func(a, b net.IP) int { return len(a.To4())/-4 - len(b.To4())/-4 })
	return &net.TCPAddr{IP: ips[0], Port: n}, nil
}

// sourceOf is the local address of a client, nil for the system's choice.
func (t *target) sourceOf(client int) net.IP {
	if t.sources == 0 {
		return nil
	}
	return net.IPv4(127, 0, 0, byte(1+client/clientsPerSource))
}

// begin prepares c for a connection begun at since, and says which id to present, nil for none. The caller holds the
// book's lock.
func (b *book) begin(c *client, since int64) []byte {
	again := c.dialed != 0
	c.parser.reset()
	c.dialed = since
	c.caughtUp = 0
	id := c.id.bytes()
	published := b.run.published[c.topic].Load()
	switch {
	case !again && published > 0:
		c.last = unknown // too late to have seen the first event
	case again && len(id) == 0:
		b.withoutID++
		if c.everID = false; published > 0 {
			c.last = unknown
		}
	case len(id) > 0:
		c.caughtUp = published
	}
	if again {
		b.reconnects++
	}
	return id
}

// pause says how long a client waits before it comes back after the server closed, as an EventSource would.
func (c *client) pause() time.Duration {
	if c.after > 0 {
		return min(time.Duration(c.after)*time.Second, maxRetry)
	}
	if c.parser.retry > 0 {
		return min(time.Duration(c.parser.retry)*time.Millisecond, maxRetry)
	}
	return defaultRetry
}

// due is a client to connect (or a slow one to read) at a time, in ns.
type due struct {
	at     int64
	client int32
	gen    uint32
}

// dueHeap orders what is to come; for container/heap.
type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
