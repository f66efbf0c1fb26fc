package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// topFrame is one look at a node.
type topFrame struct {
	Node  nodeReport   `json:"node"`
	Feeds []feedReport `json:"feeds"`
	Rates *topRates    `json:"rates,omitempty"` // since the look before; nil at the first
}

// topRates are differences of two looks per second.
type topRates struct {
	Deliveries     float64 `json:"deliveriesPerSecond"`
	SentBytes      float64 `json:"sentBytesPerSecond"`
	Stored         float64 `json:"eventsStoredPerSecond"`
	CPU            float64 `json:"cpuCores"`
	CPUPerDelivery float64 `json:"cpuMicrosPerDelivery"` // of the whole process; 0 while nothing is delivered
}

// topPoller asks one ops listener. One goroutine at a time uses it.
type topPoller struct {
	addr string
	last *nodeReport
}

const (
	topTimeout = 5 * time.Second
	topMaxBody = 256 << 20 // of a page of feeds: about 300,000 of them
)

// look asks once.
func (p *topPoller) look(ctx context.Context) (topFrame, error) {
	var f topFrame
	if err := p.get(ctx, "/status", &f.Node); err != nil {
		return f, err
	}
	var feeds feedsReport
	if err := p.get(ctx, "/feeds?scope=node", &feeds); err != nil {
		return f, err
	}
	f.Feeds = feeds.Feeds
	if l := p.last; l != nil && l.Started.Equal(f.Node.Started) { // not restarted in between
		f.Rates = ratesOf(l, &f.Node)
	}
	p.last = &f.Node
	return f, nil
}

func ratesOf(a, b *nodeReport) *topRates {
	per := func(from, to float64) float64 {
		return max(0, to-from) / max(b.Now.Sub(a.Now).Seconds(), 1e-3)
	}
	r := &topRates{
		Deliveries: per(a.Deliveries, b.Deliveries), SentBytes: per(a.SentBytes, b.SentBytes),
		Stored: per(a.EventsStored, b.EventsStored), CPU: per(a.CPUSeconds, b.CPUSeconds),
	}
	if r.Deliveries > 0 {
		r.CPUPerDelivery = r.CPU / r.Deliveries * 1e6
	}
	return r
}

// get reads a JSON page of the ops listener.
func (p *topPoller) get(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, topTimeout)
	defer cancel()
	addr := p.addr
	if strings.HasPrefix(addr, ":") {
		addr = "127.0.0.1" + addr
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", addr, errNoAnswer, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s answered %s: is that the ops listener?", addr, path, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, topMaxBody)).Decode(v); err != nil {
		return fmt.Errorf("%s%s: %w", addr, path, err)
	}
	return nil
}
