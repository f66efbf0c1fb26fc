package conformance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

// event is what a client dispatches. ID is compared apart: the gateway makes its own.
type event struct {
	Type string `json:"type"`
	Data string `json:"data"`
	ID   string `json:"id,omitempty"`
}

// idGrammar is what every id of the gateway looks like.
var idGrammar = regexp.MustCompile(`^(0|[1-9a-z][0-9a-z]{0,12})-[1-9a-z][0-9a-z]{0,12}$`)

// strict reads what the edge promises to send and nothing else: a retry line first, then per event an optional type line,
// data lines, an id line (but gateway events may lack it) and a blank line; single heartbeats between events. It shares no
// code with the product.
type strict struct {
	r     *bufio.Reader
	retry string // the last retry line
	last  string // the last id received with its blank line
}

// line reads one line; a stream that ends inside a line is cut.
func (s *strict) line() (string, error) {
	text, err := s.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	text = strings.TrimSuffix(text, "\n")
	if strings.Contains(text, "\r") {
		return "", fmt.Errorf("a CR in line %q", text)
	}
	return text, nil
}

// next is the next event, or io.EOF at a close, wherever it falls.
func (s *strict) next() (event, error) {
	ev := event{Type: "message"}
	var data []string
	begun := false
	for {
		text, err := s.line()
		if err != nil {
			return event{}, err
		}
		name, value, _ := strings.Cut(text, ": ")
		if text == "data:" {
			name, value = "data", ""
		}
		switch {
		case s.retry == "" && name != "retry":
			return event{}, fmt.Errorf("line %q before the retry line", text)
		case text == "" && len(data) == 0:
			return event{}, errors.New("a blank line without an event: some clients dispatch an empty one")
		case text == "" && ev.ID == "" && !strings.HasPrefix(ev.Type, "gateway."):
			return event{}, fmt.Errorf("event %q without an id", ev.Type)
		case text == "":
			ev.Data = strings.Join(data, "\n")
			if ev.ID != "" {
				s.last = ev.ID
			}
			return ev, nil
		case ev.ID != "":
			return event{}, fmt.Errorf("line %q behind the id", text)
		case name == "retry" && !begun:
			s.retry = value
		case text == ":" && !begun:
		case name == "event" && !begun:
			ev.Type, begun = value, true
		case name == "data":
			data, begun = append(data, value), true
		case name == "id" && begun && len(data) > 0 && idGrammar.MatchString(value):
			ev.ID = value
		default:
			return event{}, fmt.Errorf("line %q is out of place", text)
		}
	}
}

// open connects and checks the head. The stream ends with ctx.
func open(ctx context.Context, client *http.Client, url, lastID string) (*strict, io.Closer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		_ = res.Body.Close()
		return nil, nil, fmt.Errorf("%s: status %d, type %q", url, res.StatusCode, res.Header.Get("Content-Type"))
	}
	return &strict{r: bufio.NewReader(res.Body), last: lastID}, res.Body, nil
}

// fresh is a client that shares no connection with another one.
func fresh(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// withoutIDs is the events as they are compared.
func withoutIDs(in []event) []event {
	out := make([]event, 0, len(in))
	for _, ev := range in {
		out = append(out, event{Type: ev.Type, Data: ev.Data})
	}
	return out
}

// reader reads bytes that were kept.
func reader(raw []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(raw)) }

// reader1 reads byte by byte, so that what its source handed out is what was consumed.
func reader1(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(iotest.OneByteReader(r), 16) }

// tee keeps what it hands out.
type tee struct {
	from io.Reader
	seen []byte
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	t.seen = append(t.seen, p[:n]...)
	return n, err
}
