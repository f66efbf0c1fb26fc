package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// feedState is how one feed of an API does.
type feedState struct {
	Path            string    `json:"path"`
	State           string    `json:"state"`
	Why             string    `json:"why"`
	Since           time.Time `json:"since"`
	Owner           string    `json:"owner"`
	Standby         string    `json:"standby"`
	LastEventAt     time.Time `json:"lastEventAt"`
	EventsPerSecond float64   `json:"eventsPerSecond"`
	Clients         int       `json:"clients"`
}

// apiStatus is one page of the feeds of an API.
type apiStatus struct {
	State   string         `json:"state"`
	Clients int            `json:"clients"`
	States  map[string]int `json:"states"`
	Items   []feedState    `json:"items"`
	Total   int            `json:"total"`
	Silent  []string       `json:"silent"`
}

// newStatus tells how the feeds of an API do.
func newStatus(e env) *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "status ID", Short: "Show the feeds of an API: who reads them upstream, how they do, who listens", Args: cobra.ExactArgs(1),
		Example: "  sluice status market@1.0.0"}
	f := addOutput(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.Flags().IntVar(&limit, "limit", 200, "show at most so many feeds, 1 to 200")
	c.RunE = func(c *cobra.Command, args []string) error {
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		return ask(c, e, f, call{method: http.MethodGet, path: apiPath(args[0], "status"), query: query}, statusTable)
	}
	return c
}

func statusTable(w io.Writer, a answer) error {
	var s apiStatus
	if err := a.into(&s); err != nil {
		return err
	}
	var states []string
	for _, name := range sortedKeys(s.States) {
		states = append(states, fmt.Sprintf("%d %s", s.States[name], name))
	}
	fmt.Fprintf(w, "%s, %s, %s%s\n", shown(s.State), counted(s.Clients, "client"), counted(s.Total, "feed"), shown(prefixed(": ", strings.Join(states, ", "))))
	t := columns(w, "FEED", "UPSTREAM", "SINCE", "OWNER", "STANDBY", "EVENTS/S", "LAST EVENT", "CLIENTS", "WHY")
	for _, f := range s.Items {
		row(t, f.Path, f.State, when(f.Since), f.Owner, f.Standby, strconv.FormatFloat(f.EventsPerSecond, 'f', 1, 64), when(f.LastEventAt), strconv.Itoa(f.Clients), f.Why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if more := s.Total - len(s.Items); more > 0 {
		fmt.Fprintf(w, "and %s more\n", counted(more, "feed"))
	}
	if len(s.Silent) > 0 {
		fmt.Fprintf(w, "no answer from %s\n", shown(strings.Join(s.Silent, ", ")))
	}
	return nil
}

// prefixed is a text behind a prefix, or nothing.
func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// edgeState is one edge that lives.
type edgeState struct {
	Node     string   `json:"node"`
	Group    string   `json:"group"`
	Version  string   `json:"version"`
	URLs     []string `json:"urls"`
	Rev      int64    `json:"rev"`
	Current  bool     `json:"current"`
	Refused  []string `json:"refused"`
	Clients  int      `json:"clients"`
	Draining bool     `json:"draining"`
	SilentMs int      `json:"silentMs"`
}

// newGetEdges lists the edges that live.
func newGetEdges(e env) *cobra.Command {
	c := &cobra.Command{Use: "edges", Short: "List the edges that live, and whether they serve the newest catalog", Args: cobra.NoArgs}
	f := addOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return ask(c, e, f, call{method: http.MethodGet, path: "/edges"}, edgeTable)
	}
	return c
}

func edgeTable(w io.Writer, a answer) error {
	var list struct {
		Items []edgeState `json:"items"`
	}
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "EDGE", "GROUP", "CATALOG", "CLIENTS", "LAST BEAT", "VERSION", "URLS")
	for _, n := range list.Items {
		catalog := "current"
		if !n.Current {
			catalog = "behind"
		}
		if len(n.Refused) > 0 {
			catalog += ", refuses " + strings.Join(n.Refused, " ")
		}
		if n.Draining {
			catalog += ", draining"
		}
		row(t, n.Node, n.Group, catalog, strconv.Itoa(n.Clients), time.Duration(n.SilentMs*int(time.Millisecond)).String(), n.Version, strings.Join(n.URLs, " "))
	}
	return t.Flush()
}

// edgesReached tells which edges serve a change.
type edgesReached struct {
	Live   int `json:"live"`
	Done   int `json:"done"`
	Failed []struct {
		Node   string `json:"node"`
		Reason string `json:"reason"`
	} `json:"failed"`
}

// Error tells that not all do.
func (r *edgesReached) Error() string {
	var late []string
	for _, n := range r.Failed {
		late = append(late, n.Node+" ("+n.Reason+")")
	}
	return fmt.Sprintf("the change is made, but %d of %d live edges serve it; not: %s", r.Done, r.Live, shown(strings.Join(late, ", ")))
}
