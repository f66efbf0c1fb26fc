package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// apiSummary is one API in a list.
type apiSummary struct {
	ID          string         `json:"id"`
	BasePath    string         `json:"basePath"`
	State       string         `json:"state"`
	Default     bool           `json:"default"`
	Topics      int            `json:"topics"`
	Deployments map[string]int `json:"deployments"`
	UpdatedAt   time.Time      `json:"updatedAt"`
	UpdatedBy   string         `json:"updatedBy"`
}

// apiPage is one page of a list.
type apiPage struct {
	Items      []apiSummary `json:"items"`
	NextCursor string       `json:"nextCursor"`
	Total      int          `json:"total"`
}

// newGet lists APIs, or shows one.
func newGet(e env) *cobra.Command {
	c := &cobra.Command{Use: "get", Short: "List APIs, plans, apps, subscriptions …, or show one", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newGetAPIs(e), newGetAPI(e))
	c.AddCommand(newGetAccess(e)...)
	return c
}

func newGetAPIs(e env) *cobra.Command {
	query := url.Values{}
	c := &cobra.Command{Use: "apis", Short: "List APIs", Args: cobra.NoArgs,
		Example: "  sluice get apis\n  sluice get apis --state PUBLISHED --label team=rates -o name"}
	f := addOutput(c)
	for _, flag := range []struct{ name, usage string }{
		{"q", "part of name, display name or description"}, {"name", "all versions of this name"}, {"context", "context"}, {"state", "state such as PUBLISHED"},
		{"tag", "tag"}, {"label", "label, as key or key=value"}, {"sort", "name, -updatedAt or state"}} {
		c.Flags().Func(flag.name, flag.usage, func(v string) error { query.Set(flag.name, v); return nil })
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		all := &doc.Node{Kind: doc.List}
		query.Set("limit", "200")
		for {
			a, err := cl.do(ctx, call{method: http.MethodGet, path: "/apis", query: query})
			if err != nil {
				return err
			}
			page, err := a.node()
			if err != nil {
				return withCode(exitFailed, err)
			}
			if items := page.Get("items"); items != nil {
				all.Items = append(all.Items, items.Items...)
			}
			next := page.Get("nextCursor")
			if next == nil || next.Text == "" {
				break
			}
			query.Set("cursor", next.Text)
		}
		return withCode(exitFailed, showList(e.stdout, f, all))
	}
	return c
}

// showList shows a whole list, whatever pages it came in.
func showList(w io.Writer, f *serverFlags, all *doc.Node) error {
	list := &doc.Node{Kind: doc.Map, Fields: []doc.Field{{Key: "items", Value: all},
		{Key: "total", Value: &doc.Node{Kind: doc.Number, Text: strconv.Itoa(len(all.Items))}}}}
	body, err := doc.WriteJSON(list)
	if err != nil {
		return err
	}
	return f.show(w, answer{body: body}, apiTable)
}

// apiTable writes APIs, one a line.
func apiTable(w io.Writer, a answer) error {
	var page apiPage
	if err := a.into(&page); err != nil {
		return err
	}
	t := columns(w, "API", "STATE", "PATH", "TOPICS", "DEPLOYED", "UPDATED", "BY")
	for _, s := range page.Items {
		path := s.BasePath
		if s.Default {
			path += " (default)"
		}
		row(t, s.ID, s.State, path, strconv.Itoa(s.Topics), groupList(s.Deployments), when(s.UpdatedAt), s.UpdatedBy)
	}
	return t.Flush()
}

// newGetAPI shows one definition: YAML unless another form is asked for.
func newGetAPI(e env) *cobra.Command {
	c := &cobra.Command{Use: "api ID", Short: "Show the definition of an API", Args: cobra.ExactArgs(1),
		Example: "  sluice get api market@1.0.0 > market.yaml"}
	f := addOutput(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		return ask(c, e, f, call{method: http.MethodGet, path: apiPath(args[0])}, asYAML)
	}
	return c
}

// asYAML is the table of what has none.
func asYAML(w io.Writer, a answer) error {
	n, err := a.node()
	if err != nil {
		return err
	}
	return writeNode(w, n, "yaml")
}

// newCreate creates an API from a few flags.
func newCreate(e env) *cobra.Command {
	c := &cobra.Command{Use: "create", Short: "Create an API, plan, app, key … from a few flags; 'apply' takes whole definitions", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newCreateAPI(e))
	c.AddCommand(newCreateAccess(e)...)
	return c
}

func newCreateAPI(e env) *cobra.Command {
	var display, description, context, version, endpoint string
	var topics, transports []string
	var publish, open bool
	c := &cobra.Command{
		Use:   "api NAME",
		Short: "Create an API; without topics it gets one, /*",
		Example: "  sluice create api ServerSentEvents --context /events --version 1.0.0 --endpoint http://localhost:8080\n" +
			"  sluice create api market --context /market --version 1.0.0 --endpoint http://localhost:8090 --topic /ticks --publish",
		Args: cobra.ExactArgs(1),
	}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.Flags().StringVar(&display, "display-name", "", "what people read; default NAME")
	c.Flags().StringVar(&description, "description", "", "what the API is for")
	c.Flags().StringVar(&context, "context", "", "first part of its path, such as /events or {version}/events")
	c.Flags().StringVar(&version, "version", "", "its public version")
	c.Flags().StringVar(&endpoint, "endpoint", "", "base URL of the backend")
	c.Flags().StringArrayVar(&topics, "topic", nil, "topic such as /ticks (repeatable)")
	c.Flags().StringSliceVar(&transports, "transports", nil, "http, https; default both")
	c.Flags().BoolVar(&open, "open", false, "the topics need no credential")
	c.Flags().BoolVar(&publish, "publish", false, "publish it at once")
	for _, name := range []string{"context", "version"} {
		_ = c.MarkFlagRequired(name)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		body, err := newDefinition(args[0], display, description, context, version, endpoint, topics, transports, open, publish)
		if err != nil {
			return withCode(exitFailed, err)
		}
		r := dry(call{method: http.MethodPost, path: "/apis", body: body}, *dryRun)
		return ask(c, e, f, r, changed("created", args[0]+"@"+version))
	}
	return c
}

// newDefinition is a definition with what the flags of create say, and nothing else.
func newDefinition(name, display, description, context, version, endpoint string, topics, transports []string, open, publish bool) ([]byte, error) {
	meta := map[string]any{"name": name}
	spec := map[string]any{"context": context, "version": version}
	for _, v := range []struct {
		in        map[string]any
		key, text string
	}{{meta, "displayName", display}, {meta, "description", description}, {spec, "endpoint", endpoint}} {
		if v.text != "" {
			v.in[v.key] = v.text
		}
	}
	if transports != nil {
		spec["transports"] = transports
	}
	if open && len(topics) == 0 {
		topics = []string{"/*"}
	}
	var list []map[string]any
	for _, t := range topics {
		topic := map[string]any{"name": t}
		if open {
			topic["security"] = catalog.SecurityNone
		}
		list = append(list, topic)
	}
	if list != nil {
		spec["topics"] = list
	}
	if publish {
		spec["state"] = catalog.StatePublished
	}
	return json.Marshal(map[string]any{"apiVersion": catalog.APIVersion, "kind": catalog.KindAPI, "metadata": meta, "spec": spec})
}

// newDelete deletes APIs.
func newDelete(e env) *cobra.Command {
	c := &cobra.Command{Use: "delete", Short: "Delete APIs, plans, apps, keys …", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	api := &cobra.Command{Use: "api ID...", Short: "Delete APIs that are not live", Args: cobra.MinimumNArgs(1),
		Example: "  sluice delete api market@1.0.0"}
	f := addServer(api)
	dryRun := addDryRun(api)
	force := api.Flags().Bool("force", false, "delete even what is live: its streams end (admin)")
	cascade := api.Flags().Bool("cascade", false, "delete the subscriptions to it too")
	api.ValidArgsFunction = completeIDs(e, f, 0)
	api.RunE = func(c *cobra.Command, args []string) error {
		return each(args, func(id string) error {
			r := call{method: http.MethodDelete, path: apiPath(id), ifMatch: "*"}
			r.query = url.Values{}
			if *force {
				r.query.Set("force", "true")
			}
			if *cascade {
				r.query.Set("cascade", "true")
			}
			return ask(c, e, f, dry(r, *dryRun), changed("deleted", id))
		})
	}
	c.AddCommand(api)
	c.AddCommand(newDeleteAccess(e)...)
	return c
}

// each does the same for all ids, goes on after an error, and returns them all.
func each(ids []string, f func(id string) error) error {
	var errs []error
	for _, id := range ids {
		if err := f(id); err != nil {
			if len(ids) > 1 {
				err = withCode(exitFailed, fmt.Errorf("%s: %w", id, err))
			}
			errs = append(errs, err)
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return withCode(exitFailed, errors.Join(errs...))
}

// groupList shows which revision each edge group serves: default:3,eu:2.
func groupList(groups map[string]int) string {
	var out []string
	for _, g := range sortedKeys(groups) {
		out = append(out, fmt.Sprintf("%s:%d", g, groups[g]))
	}
	return strings.Join(out, ",")
}
