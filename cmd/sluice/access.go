package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sluice/internal/doc"
)

// resource is a kind of thing that says who may read, as verbs and the server call it.
type resource struct {
	one, many string
	path      string // below /api/v1
	aliases   []string
	table     func(io.Writer, answer) error
	filters   []struct{ name, usage string }
}

// filter is a flag of get that goes into the query.
type filter = struct{ name, usage string }

// The resources that verbs list and show.
var resources = []resource{
	{one: "plan", many: "plans", path: "/plans", table: planTable},
	{one: "app", many: "apps", path: "/applications", aliases: []string{"application", "applications"}, table: applicationTable,
		filters: []filter{{"q", "part of name or display name"}, {"label", "label, as key or key=value"}}},
	{one: "subscription", many: "subscriptions", path: "/subscriptions", aliases: []string{"sub", "subs"}, table: subscriptionTable,
		filters: []filter{{"application", "name or id of an application"}, {"api", "API, as name@version or name"}, {"state", "state such as ON_HOLD"}}},
	{one: "deny", many: "denies", path: "/denies", table: denyTable},
	{many: "revocations", path: "/revocations", table: revocationTable},
	{many: "dev-apis", path: "/dev/apis", table: devTable, filters: []filter{{"q", "part of name, display name or description"}, {"tag", "tag"}}},
}

// newGetAccess makes the verbs that list and show resources.
func newGetAccess(e env) []*cobra.Command {
	out := []*cobra.Command{newGetKeys(e)}
	for _, r := range resources {
		out = append(out, newGetMany(e, r))
		if r.one != "" {
			out = append(out, newGetOne(e, r))
		}
	}
	return out
}

func newGetMany(e env, r resource) *cobra.Command {
	query := url.Values{}
	c := &cobra.Command{Use: r.many, Short: "List " + r.many, Args: cobra.NoArgs, Example: "  sluice get " + r.many + " -o json"}
	for _, a := range r.aliases {
		if strings.HasSuffix(a, "s") {
			c.Aliases = append(c.Aliases, a)
		}
	}
	f := addOutput(c)
	for _, flag := range r.filters {
		c.Flags().Func(flag.name, flag.usage, func(v string) error { query.Set(flag.name, v); return nil })
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		all, err := cl.pages(ctx, r.path, query)
		if err != nil {
			return err
		}
		return withCode(exitFailed, f.show(e.stdout, all, r.table))
	}
	return c
}

// pages reads a whole list, whatever pages it comes in.
func (c *remote) pages(ctx context.Context, path string, query url.Values) (answer, error) {
	all, asked := &doc.Node{Kind: doc.List}, url.Values{"limit": {"200"}}
	for k, v := range query {
		asked[k] = v
	}
	for {
		a, err := c.do(ctx, call{method: http.MethodGet, path: path, query: asked})
		if err != nil {
			return answer{}, err
		}
		page, err := a.node()
		if err != nil {
			return answer{}, withCode(exitFailed, err)
		}
		if items := page.Get("items"); items != nil {
			all.Items = append(all.Items, items.Items...)
		}
		next := page.Get("nextCursor")
		if next == nil || next.Text == "" {
			break
		}
		asked.Set("cursor", next.Text)
	}
	body, err := doc.WriteJSON(&doc.Node{Kind: doc.Map, Fields: []doc.Field{{Key: "items", Value: all},
		{Key: "total", Value: &doc.Node{Kind: doc.Number, Text: strconv.Itoa(len(all.Items))}}}})
	return answer{body: body}, withCode(exitFailed, err)
}

func newGetOne(e env, r resource) *cobra.Command {
	c := &cobra.Command{Use: r.one + " NAME", Short: "Show one of the " + r.many, Args: cobra.ExactArgs(1)}
	for _, a := range r.aliases {
		if !strings.HasSuffix(a, "s") {
			c.Aliases = append(c.Aliases, a)
		}
	}
	f := addOutput(c)
	c.ValidArgsFunction = completeOf(e, f, r.path, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		path, err := cl.pathOf(ctx, r.path, args[0])
		if err != nil {
			return err
		}
		a, err := cl.do(ctx, call{method: http.MethodGet, path: path})
		if err != nil {
			return err
		}
		return withCode(exitFailed, f.show(e.stdout, a, asYAML))
	}
	return c
}

// pathOf is the path of a resource. A subscription is named by its id, or as APP/API@VERSION.
func (c *remote) pathOf(ctx context.Context, path, name string) (string, error) {
	if app, api, named := strings.Cut(name, "/"); path == "/subscriptions" && named {
		a, err := c.do(ctx, call{method: http.MethodGet, path: path, query: url.Values{"application": {app}, "api": {api}}})
		if err != nil {
			return "", err
		}
		var list struct{ Items []subscription }
		if err := a.into(&list); err != nil {
			return "", withCode(exitFailed, err)
		}
		if len(list.Items) != 1 {
			return "", withCode(exitFailed, fmt.Errorf("%s: %d subscriptions are called so; 'sluice get subscriptions -o name' lists their ids", shown(name), len(list.Items)))
		}
		name = list.Items[0].Status.ID
	}
	return path + "/" + url.PathEscape(name), nil
}

// newGetKeys lists the API keys of an application.
func newGetKeys(e env) *cobra.Command {
	c := &cobra.Command{Use: "keys APP", Short: "List the API keys of an application", Args: cobra.ExactArgs(1), Example: "  sluice get keys trader"}
	f := addOutput(c)
	c.ValidArgsFunction = completeOf(e, f, "/applications", 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		return ask(c, e, f, call{method: http.MethodGet, path: appPath(args[0], "keys")}, keyTable)
	}
	return c
}

// appPath is the path of an application, or of something below it.
func appPath(app string, below ...string) string {
	path := "/applications/" + url.PathEscape(app)
	for _, b := range below {
		path += "/" + url.PathEscape(b)
	}
	return path
}

// completeOf offers the names in a list of the server; only as many as the verb takes.
func completeOf(e env, f *serverFlags, path string, most int) completer {
	return func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return liveNames(c.Context(), e, f, path, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// liveNames asks for the names in a list that begin as begun; no answer is no offer.
func liveNames(ctx context.Context, e env, f *serverFlags, path, begun string) []cobra.Completion {
	cl, err := newClient(e, f)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	a, err := cl.do(ctx, call{method: http.MethodGet, path: path})
	if err != nil {
		return nil
	}
	n, err := a.node()
	if err != nil || n.Get("items") == nil {
		return nil
	}
	var out []cobra.Completion
	for _, item := range n.Get("items").Items {
		if name := nameOf(item); strings.HasPrefix(name, begun) {
			out = append(out, name)
		}
	}
	return out
}

// completeEach offers what each argument in turn is: apps, APIs, keys of the app before.
func completeEach(e env, f *serverFlags, lists ...func(args []string) string) completer {
	return func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(lists) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return liveNames(c.Context(), e, f, lists[len(args)](args), begun), cobra.ShellCompDirectiveNoFileComp
	}
}

func inList(path string) func([]string) string { return func([]string) string { return path } }

func keysOf(args []string) string { return appPath(args[0], "keys") }
