package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// tailFlags is the command line of tail.
type tailFlags struct {
	output   string
	lastID   string
	from     string
	since    string
	headers  []string
	count    uint64
	once     bool
	insecure bool
	quiet    bool
}

func newTail(e env) *cobra.Command {
	var f tailFlags
	c := &cobra.Command{
		Use:   "tail URL",
		Short: "Follow a stream and resume it for ever",
		Long: "tail prints the events of an SSE URL. When the connection ends it waits as the stream asked and\n" +
			"resumes with Last-Event-ID. What the gateway tells (gaps, ends) and reconnects go to standard error.\n" +
			"It stops for good when the server answers 204 or an error that trying again cannot cure.",
		Example: "  sluice tail http://localhost:8080/market/1.0.0/ticks\n" +
			"  sluice tail --from last:10 -o json http://localhost:8080/market/1.0.0/quotes/ACME",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := newTailer(args[0], f, e)
			if err != nil {
				return withCode(exitUsage, err)
			}
			ctx, stop := untilSignal(c.Context(), e)
			defer stop()
			err = t.follow(ctx)
			if err == nil || ctx.Err() != nil {
				return nil
			}
			return withCode(exitFailed, err)
		},
	}
	c.Flags().StringVarP(&f.output, "output", "o", "auto", "auto, text, data, raw or json; auto is text on a terminal, else data")
	c.Flags().StringVar(&f.lastID, "last-event-id", "", "resume after this event id")
	c.Flags().StringVar(&f.from, "from", "", "live, earliest, last or last:N (first connect only)")
	c.Flags().StringVar(&f.since, "since", "", "RFC 3339 time to begin at (first connect only)")
	c.Flags().StringArrayVarP(&f.headers, "header", "H", nil, "request header 'Name: value' (repeatable)")
	c.Flags().Uint64VarP(&f.count, "count", "n", 0, "stop after so many events (0 = never)")
	c.Flags().BoolVar(&f.once, "once", false, "do not reconnect")
	c.Flags().BoolVarP(&f.insecure, "insecure", "k", false, "accept any TLS certificate")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but events")
	return c
}

// newTailer checks the flags and returns a tailer that has not connected yet.
func newTailer(target string, f tailFlags, e env) (*tailer, error) {
	u, err := url.Parse(target)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%q is not an http or https URL", target)
	}
	if f.from != "" && f.since != "" {
		return nil, errors.New("--from and --since exclude each other")
	}
	header := http.Header{"Accept": {"text/event-stream"}, "Cache-Control": {"no-cache"}}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("header %q is not 'Name: value'", h)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	printEvent, err := tailPrinter(f.output, e.stdout)
	if err != nil {
		return nil, err
	}
	notes := e.stderr
	if f.quiet {
		notes = io.Discard
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	transport.ResponseHeaderTimeout = 30 * time.Second
	if f.insecure {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // asked for by -k
	}
	return &tailer{
		url: u, header: header, flags: f, lastID: f.lastID,
		client: &http.Client{Transport: transport},
		print:  printEvent, notes: notes, retry: 2 * time.Second,
	}, nil
}

// tailEvent is one event as tail prints it.
type tailEvent struct {
	ID    string `json:"id,omitempty"`
	Event string `json:"event"`
	Data  string `json:"data"`
}

// tailPrinter returns the function that prints one event in the wanted form.
func tailPrinter(form string, w io.Writer) (func(tailEvent) error, error) {
	if form == "auto" {
		form = "data"
		if f, ok := w.(*os.File); ok && isTerminal(f) {
			form = "text"
		}
	}
	switch form {
	case "data":
		return func(ev tailEvent) error { _, err := fmt.Fprintln(w, ev.Data); return err }, nil
	case "text":
		return func(ev tailEvent) error {
			_, err := fmt.Fprintf(w, "%s  %-10s %s  %s\n", time.Now().Format("15:04:05.000"), ev.Event, ev.Data, ev.ID)
			return err
		}, nil
	case "raw":
		return func(ev tailEvent) error {
			_, err := fmt.Fprintf(w, "event: %s\ndata: %s\nid: %s\n\n", ev.Event, strings.ReplaceAll(ev.Data, "\n", "\ndata: "), ev.ID)
			return err
		}, nil
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return func(ev tailEvent) error { return enc.Encode(ev) }, nil
	}
	return nil, fmt.Errorf("--output %q: allowed are auto, text, data, raw, json", form)
}

// isTerminal tells whether f is a character device, as terminals are.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
