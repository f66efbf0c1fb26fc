package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"sluice/internal/doc"
	"sluice/internal/sse"
)

// watched is one change that the server tells.
type watched struct {
	ID  string          `json:"id"`
	API json.RawMessage `json:"api"` // nil = deleted
}

// watcher follows the changes of a server's catalog, across broken connections. It belongs to one goroutine.
type watcher struct {
	*remote
	last  string // id of the newest event
	take  func(watched) error
	notes io.Writer
}

// errEnded wraps an end that coming back does not cure.
var errEnded = errors.New("the server ended the stream")

// watch calls take with everything that is, then with every change, until ctx ends (nil), take fails or the server refuses.
func (c *remote) watch(ctx context.Context, e env, take func(watched) error) error {
	w := &watcher{remote: c, take: take, notes: e.stderr}
	pause := time.Second
	for {
		began := time.Now()
		err := w.connect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var refused *serverError
		final := errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusTooManyRequests
		var coded exitError
		if final || errors.Is(err, errEnded) || errors.As(err, &coded) && refused == nil {
			return err
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		fmt.Fprintf(w.notes, "sluice: %v; again in %v\n", err, pause)
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// connect reads the stream once to its end. What take fails with has an exit code; the rest may be tried again.
func (w *watcher) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+"/api/v1/watch?kinds=API&since=0", nil)
	if err != nil {
		return withCode(exitFailed, err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	if w.last != "" {
		req.Header.Set("Last-Event-ID", w.last)
	}
	client := *w.http
	client.Timeout = 0
	resp, err := client.Do(req)
	if err != nil {
		return unwrapURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return withCode(exitFailed, newServerError(resp, body, ""))
	}
	quiet := time.AfterFunc(tailSilence, func() { cancel(fmt.Errorf("no byte for %v", tailSilence)) })
	defer quiet.Stop()
	d := sse.NewDecoder(resp.Body, sse.Options{MaxEvent: 4 << 20, OnBytes: func(int) { quiet.Reset(tailSilence) }})
	for {
		ev, err := d.Next()
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		if err != nil {
			return fmt.Errorf("the stream broke: %w", err)
		}
		if err := w.event(string(ev.Type), ev.Data); err != nil {
			return err
		}
		if len(ev.ID) > 0 {
			w.last = string(ev.ID)
		}
	}
}

func (w *watcher) event(name string, data []byte) error {
	switch name {
	case "changed", "deleted":
		var c watched
		if err := json.Unmarshal(data, &c); err != nil {
			return withCode(exitFailed, fmt.Errorf("the server's event is not understood: %w", err))
		}
		return withCode(exitFailed, w.take(c))
	case "reset":
		w.last = "" // everything is told anew
		return errors.New("the server cannot tell what changed meanwhile")
	case "end":
		var end struct{ Reason string }
		if err := json.Unmarshal(data, &end); err == nil && end.Reason != "shutdown" {
			return withCode(exitFailed, fmt.Errorf("%w: %s", errEnded, shown(end.Reason)))
		}
		return errors.New("the server goes away")
	}
	return nil
}

// watchRow is the form of a line of `get apis -w`: its widths are fixed, because nobody knows what comes.
const watchRow = "%-32s  %-10s  %-28s  %6s  %-20s  %-19s  %s\n"

// watchAPIs shows APIs, then each that changes, in the form asked for.
func (f *serverFlags) watchAPIs(w io.Writer, matches func(apiSummary) bool) func(watched) error {
	listed := map[string]bool{}
	if f.output == "table" {
		fmt.Fprintf(w, watchRow, "API", "STATE", "PATH", "TOPICS", "DEPLOYED", "UPDATED", "BY")
	}
	return func(c watched) error {
		s := apiSummary{ID: c.ID, State: "deleted"}
		if c.API != nil {
			if err := json.Unmarshal(c.API, &s); err != nil {
				return fmt.Errorf("the server's event is not understood: %w", err)
			}
		}
		if fits := c.API != nil && matches(s); !fits && !listed[c.ID] {
			return nil // of a list that it was never in
		} else if listed[c.ID] = fits; !fits {
			delete(listed, c.ID)
		}
		switch f.output {
		case "name":
			_, err := fmt.Fprintln(w, shown(c.ID))
			return err
		case "json", "yaml":
			text, err := json.Marshal(map[string]any{"id": c.ID, "api": c.API})
			if err != nil {
				return err
			}
			if f.output == "yaml" {
				return yamlDocument(w, text)
			}
			_, err = w.Write(append(text, '\n'))
			return err
		}
		path, topics := s.BasePath, strconv.Itoa(s.Topics)
		if s.Default {
			path += " (default)"
		}
		if c.API == nil {
			path, topics = "-", "-"
		}
		_, err := fmt.Fprintf(w, watchRow, shown(s.ID), shown(s.State), shown(path), topics, dash(groupList(s.Deployments)), dash(when(s.UpdatedAt)), dash(shown(s.UpdatedBy)))
		return err
	}
}

// yamlDocument writes JSON as one more document of a YAML stream.
func yamlDocument(w io.Writer, text []byte) error {
	d, err := doc.ParseJSON("", text)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "---\n"); err != nil {
		return err
	}
	return writeNode(w, d.Root, "yaml")
}

// watchAPI shows the definition of an API each time that it changes, until it is deleted.
func (c *remote) watchAPI(ctx context.Context, e env, f *serverFlags, id string) error {
	seen := false
	err := c.watch(ctx, e, func(w watched) error {
		switch {
		case w.ID != id:
			return nil
		case w.API == nil && seen:
			return fmt.Errorf("%s was deleted", shown(id))
		case w.API == nil:
			return nil
		}
		seen = true
		a, err := c.do(ctx, call{method: http.MethodGet, path: apiPath(id)})
		if err != nil {
			return err
		}
		if f.output == "table" || f.output == "yaml" {
			return yamlDocument(e.stdout, a.body)
		}
		return f.show(e.stdout, a, asYAML)
	})
	return err
}
