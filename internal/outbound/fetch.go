package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// What one Fetch may take.
const (
	fetchTime      = 10 * time.Second
	fetchRedirects = 3
)

// ErrTooLarge says that a fetched body is longer than the caller takes.
var ErrTooLarge = errors.New("is larger than the limit")

// Fetch gets a document by its address: one GET without credentials, cookies or proxy, at most 3 redirects, 10 s and most bytes. Every
// address on the way is checked by g, redirects too, and none leads from https to http. It is not retried. Only an answer 200 counts.
func Fetch(ctx context.Context, g *Guard, address string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("is no URL")
	}
	if err := g.CheckURL(u); err != nil {
		return nil, err
	}
	rt := Transport(g.Dialer(fetchTime), nil, Limits{})
	defer rt.CloseIdleConnections()
	client := http.Client{Transport: rt, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > fetchRedirects {
			return fmt.Errorf("more than %d redirects", fetchRedirects)
		}
		if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return fmt.Errorf("redirect from https to %s: %w", req.URL.Scheme, ErrForbidden)
		}
		req.Header.Del("Referer")
		return g.CheckURL(req.URL)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(body)) > most {
		err = ErrTooLarge
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}
