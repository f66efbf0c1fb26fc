package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// poster publishes by POST. One topic's events go one after the other, so that their order is the server's duty alone.
type poster struct {
	p      Publish
	client *http.Client
}

func newPoster(p Publish, insecure bool) *poster {
	tr := newTransport(insecure, false)
	tr.MaxIdleConnsPerHost = 4
	return &poster{p: p, client: &http.Client{Transport: tr, Timeout: 30 * time.Second}}
}

func (p *poster) lanes() int { return 4 }

func (p *poster) publish(ctx context.Context, topic int, n int64, data []byte) error {
	body := fillBody(p.p.Body, topic, n, data)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, topicURL(p.p.URL, topic), bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, values := range p.p.Header {
		req.Header[name] = values
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // only for the message below
	if resp.StatusCode >= 300 {
		return fmt.Errorf("publish: %s: %.200s", resp.Status, bytes.TrimSpace(answer))
	}
	return nil
}

func (p *poster) close() { p.client.CloseIdleConnections() }

// fillBody puts one event into a template.
func fillBody(template string, topic int, n int64, data []byte) []byte {
	if template == "{{data}}" {
		return data
	}
	quoted, _ := json.Marshal(string(data)) // a string always can
	return []byte(strings.NewReplacer(
		"{{data}}", string(data), "{{data|json}}", string(quoted), "{{data|form}}", url.QueryEscape(string(data)),
		"{{topic}}", itoa(int64(topic)), "{{n}}", itoa(n),
	).Replace(template))
}
