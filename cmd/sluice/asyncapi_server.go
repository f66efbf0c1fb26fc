package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// onServer tells whether a name is the id of an API on the server, and no file.
func onServer(name string) bool {
	_, err := os.Stat(name)
	return err != nil && strings.Contains(name, "@")
}

// exportAsyncAPI prints the document of an API on the server.
func exportAsyncAPI(c *cobra.Command, e env, f *serverFlags, id, version, profile, format string) error {
	query := url.Values{"profile": {profile}, "format": {format}}
	if version != "" {
		query.Set("version", version)
	}
	r := call{method: http.MethodGet, path: apiPath(id, "asyncapi"), query: query, accept: "application/yaml, application/json"}
	return ask(c, e, f, r, verbatim)
}

// verbatim writes what the server sent.
func verbatim(w io.Writer, a answer) error {
	_, err := w.Write(a.body)
	return err
}

// importAsyncAPI has the server create an API from a document: a file that is sent, or a URL that the server fetches.
func importAsyncAPI(c *cobra.Command, e env, f *serverFlags, name string, query url.Values, how writeFlags) error {
	r := call{method: http.MethodPost, path: "/import/asyncapi", query: query}
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		query.Set("url", name)
	} else if err := r.attach(e, name); err != nil {
		return err
	}
	return ask(c, e, f, dry(r, how), showImport(r.source))
}

// newAsyncAPIUpdate makes the topics of an API on the server those of a document.
func newAsyncAPIUpdate(e env) *cobra.Command {
	var lenient bool
	c := &cobra.Command{Use: "update ID FILE|-", Short: "Make the topics of an API on the server those of an AsyncAPI document", Args: cobra.ExactArgs(2)}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.Flags().BoolVar(&lenient, "lenient", false, "leave out, with a warning, what clients only publish to")
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		r := call{method: http.MethodPut, path: apiPath(args[0], "asyncapi"), query: importMode(lenient)}
		if err := r.attach(e, args[1]); err != nil {
			return err
		}
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		if r.ifMatch, err = cl.tag(c.Context(), args[0]); err != nil {
			return err
		}
		return ask(c, e, f, dry(r, *dryRun), showImport(r.source))
	}
	return c
}

// tag is an API's ETag.
func (c *remote) tag(ctx context.Context, id string) (string, error) {
	_, tag, err := c.get(ctx, id)
	return tag, err
}

func importMode(lenient bool) url.Values {
	if lenient {
		return url.Values{"mode": {"lenient"}}
	}
	return url.Values{}
}

// attach makes a file the body of a request.
func (r *call) attach(e env, file string) error {
	text, err := readLimited(e, file)
	if err != nil {
		return withCode(exitUsage, err)
	}
	r.body, r.contentType, r.source = text, documentType(file, text), file
	return nil
}

// documentType is the media type of a document, by its name or its first byte.
func documentType(name string, text []byte) string {
	if strings.EqualFold(filepath.Ext(name), ".json") || bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return "application/json"
	}
	return "application/yaml"
}

// imported is the answer to an import.
type imported struct {
	DryRun bool      `json:"dryRun"`
	Report []finding `json:"report"`
	Diff   []change  `json:"diff"`
}

// showImport writes what an import did: the API's id, then the report by place.
func showImport(file string) func(io.Writer, answer) error {
	return func(w io.Writer, a answer) error {
		var in imported
		if err := a.into(&in); err != nil {
			return err
		}
		n, err := a.node()
		if err != nil {
			return err
		}
		id := "API"
		if api := n.Get("api"); api != nil && idOf(api) != "" {
			id = idOf(api)
		}
		verb := "imported"
		if in.DryRun {
			verb = "would be imported"
		}
		if _, err := fmt.Fprintf(w, "%s %s\n", shown(id), verb); err != nil {
			return err
		}
		if in.DryRun {
			for _, d := range in.Diff {
				fmt.Fprintln(w, "  "+d.text())
			}
		}
		for _, f := range in.Report {
			level := f.Level
			if level == "" {
				level = "warning"
			}
			fmt.Fprintf(w, "%s: %s\n", shown(level), f.text(file))
		}
		return nil
	}
}
