package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// ask makes one request and shows its answer: table writes it for people, the other forms are the server's document.
func ask(c *cobra.Command, e env, f *serverFlags, r call, table func(io.Writer, answer) error) error {
	cl, err := f.client(e)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(c.Context(), e)
	defer stop()
	a, err := cl.do(ctx, r)
	if err != nil {
		return err
	}
	return withCode(exitFailed, f.show(e.stdout, a, table))
}

// client is newClient after a look at the form of output.
func (f *serverFlags) client(e env) (*remote, error) {
	switch f.output {
	case "", "table", "json", "yaml", "name":
		return newClient(e, f)
	}
	return nil, withCode(exitUsage, fmt.Errorf("--output %q: want table, json, yaml or name", f.output))
}

// show writes an answer in the form asked for.
func (f *serverFlags) show(w io.Writer, a answer, table func(io.Writer, answer) error) error {
	switch f.output {
	case "json", "yaml":
		if len(a.body) == 0 {
			return nil
		}
		n, err := a.node()
		if err != nil {
			return err
		}
		return writeNode(w, n, f.output)
	case "name":
		return names(w, a)
	}
	return table(w, a)
}

// writeNode writes a document as JSON or YAML.
func writeNode(w io.Writer, n *doc.Node, form string) error {
	write := doc.WriteYAML
	if form == "json" {
		write = doc.WriteJSON
	}
	text, err := write(n)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// names writes the ids in an answer, one a line: of a list its entries', of anything else its own.
func names(w io.Writer, a answer) error {
	if len(a.body) == 0 {
		return nil
	}
	n, err := a.node()
	if err != nil {
		return err
	}
	list := []*doc.Node{n}
	for _, key := range []string{"items", "results"} {
		if items := n.Get(key); items != nil {
			list = items.Items
		}
	}
	for _, item := range list {
		if _, err := fmt.Fprintln(w, shown(nameOf(item))); err != nil {
			return err
		}
	}
	return nil
}

// nameOf is how a verb would take an entry as its argument.
func nameOf(n *doc.Node) string {
	if inner := n.Get("api"); inner != nil && n.Get("id") == nil && n.Get("n") == nil {
		n = inner
	}
	if id := idOf(n); id != "" {
		return id
	}
	if meta := n.Get("metadata"); meta != nil && meta.Get("name") != nil {
		return meta.Get("name").Text
	}
	for _, key := range []string{"id", "n", "name", "state"} {
		if v := n.Get(key); v != nil {
			return v.Text
		}
	}
	return ""
}

// idOf is the id of an API's definition; "" if n is none.
func idOf(n *doc.Node) string {
	if kind := n.Get("kind"); kind != nil && kind.Text != catalog.KindAPI {
		return ""
	}
	meta, spec := n.Get("metadata"), n.Get("spec")
	if meta == nil || spec == nil || meta.Get("name") == nil || spec.Get("version") == nil {
		return ""
	}
	return meta.Get("name").Text + "@" + spec.Get("version").Text
}

// shown is text of the server, fit for a terminal: what is not printable becomes a question mark.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// columns starts a table.
func columns(w io.Writer, head ...string) *tabwriter.Writer {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(head, "\t"))
	return t
}

// row adds a line of cells.
func row(t *tabwriter.Writer, cells ...string) {
	for i, c := range cells {
		if cells[i] = shown(c); c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}

// when shows a time in short.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// plan is the answer to a dry run.
type plan struct {
	DryRun   bool      `json:"dryRun"`
	Diff     []change  `json:"diff"`
	Impact   *impact   `json:"impact"`
	Warnings []finding `json:"warnings"`
}

// impact is what a change does to feeds and open streams.
type impact struct {
	StreamsEnded []struct {
		Topic  string `json:"topic"`
		Reason string `json:"reason"`
	} `json:"streamsEnded"`
	FeedsReconnected []string `json:"feedsReconnected"`
}

func (i *impact) write(w io.Writer) {
	if i == nil {
		return
	}
	for _, s := range i.StreamsEnded {
		fmt.Fprintf(w, "  ends streams of %s: %s\n", shown(s.Topic), shown(s.Reason))
	}
	for _, f := range i.FeedsReconnected {
		fmt.Fprintf(w, "  connects the upstream of %s anew\n", shown(f))
	}
}

// write shows a plan: its changes, then what they do.
func (p plan) write(w io.Writer) {
	if len(p.Diff) == 0 {
		fmt.Fprintln(w, "  nothing changes")
	}
	for _, c := range p.Diff {
		fmt.Fprintln(w, "  "+c.text())
	}
	p.Impact.write(w)
	for _, f := range p.Warnings {
		fmt.Fprintln(w, "  warning: "+f.text(""))
	}
}

// changed writes one line for a change that was made, or the plan of a dry run.
func changed(verb string, id string) func(io.Writer, answer) error {
	return func(w io.Writer, a answer) error {
		var p plan
		if len(a.body) > 0 {
			if err := a.into(&p); err != nil {
				return err
			}
		}
		if p.DryRun {
			fmt.Fprintf(w, "%s would be %s\n", shown(id), verb)
			p.write(w)
			return nil
		}
		if _, err := fmt.Fprintf(w, "%s %s\n", shown(id), verb); err != nil {
			return err
		}
		return warned(w, a)
	}
}

// warned shows the warnings that stand in the status of an API.
func warned(w io.Writer, a answer) error {
	var api struct {
		Status struct {
			Warnings []finding `json:"warnings"`
		} `json:"status"`
	}
	if len(a.body) == 0 || json.Unmarshal(a.body, &api) != nil {
		return nil
	}
	for _, f := range api.Status.Warnings {
		if _, err := fmt.Fprintln(w, "warning: "+f.text("")); err != nil {
			return err
		}
	}
	return nil
}

// writeFlags say how a change is made.
type writeFlags struct {
	only bool // checks all and changes nothing
	wait bool // until all live edges serve it
}

// addDryRun adds --dry-run and --wait to a verb that changes something.
func addDryRun(c *cobra.Command) *writeFlags {
	w := &writeFlags{}
	c.Flags().BoolVar(&w.only, "dry-run", false, "check everything, tell what would happen and change nothing")
	c.Flags().BoolVar(&w.wait, "wait", false, "return once every live edge serves the change; ends with 1 if some do not within 10 s")
	return w
}

// addDryOnly adds --dry-run alone, for what no edge has to follow before it counts.
func addDryOnly(c *cobra.Command) *writeFlags {
	w := &writeFlags{}
	c.Flags().BoolVar(&w.only, "dry-run", false, "check everything, tell what would happen and change nothing")
	return w
}

// dry adds to a request how its change is made.
func dry(r call, how writeFlags) call {
	if r.query == nil {
		r.query = map[string][]string{}
	}
	if how.only {
		r.query.Set("dryRun", "true")
	} else if how.wait {
		r.query.Set("wait", "edges")
	}
	return r
}
