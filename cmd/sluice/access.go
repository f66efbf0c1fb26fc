package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

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

// metadata is the name of a definition.
type metadata struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
	Description string `json:"description"`
	Owner       string `json:"owner"`
}

// planDefinition and the types below are the definitions as verbs show them.
type planDefinition struct {
	Metadata metadata
	Spec     struct {
		Quota struct {
			Events int64
			Every  int
			Unit   string
		}
		Rate struct {
			Events int
			Per    string
		}
		Connections      struct{ PerSubscription, PerKey int }
		Enforce          bool
		RequiresApproval bool
	}
}

// quota is the quota in words.
func (p *planDefinition) quota() string {
	q := p.Spec.Quota
	if q.Events == 0 {
		return "unlimited"
	}
	per := q.Unit
	if q.Every > 1 {
		per = fmt.Sprintf("%d %ss", q.Every, q.Unit)
	}
	text := fmt.Sprintf("%d per %s", q.Events, per)
	if !p.Spec.Enforce {
		text += ", only counted"
	}
	return text
}

func planTable(w io.Writer, a answer) error {
	var list struct{ Items []planDefinition }
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "PLAN", "EVENTS", "CONNECTIONS", "RATE", "APPROVAL", "DESCRIPTION")
	for _, p := range list.Items {
		rate, approval := "", ""
		if p.Spec.Rate.Events > 0 {
			rate = fmt.Sprintf("%d per %s", p.Spec.Rate.Events, p.Spec.Rate.Per)
		}
		if p.Spec.RequiresApproval {
			approval = "needed"
		}
		connections := "unlimited"
		if n := p.Spec.Connections.PerSubscription; n > 0 {
			connections = strconv.Itoa(n)
		}
		row(t, p.Metadata.Name, p.quota(), connections, rate, approval, p.Metadata.Description)
	}
	return t.Flush()
}

type applicationDefinition struct {
	Metadata metadata
	Spec     struct {
		State, Plan string
		Clients     []struct{ Issuer, ID string }
	}
	Status struct {
		ID                  string
		Secret              bool
		Keys, Subscriptions int
		CreatedAt           time.Time
	}
}

func applicationTable(w io.Writer, a answer) error {
	var list struct{ Items []applicationDefinition }
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "APP", "ID", "OWNER", "STATE", "KEYS", "SUBSCRIPTIONS", "CREATED")
	for _, d := range list.Items {
		row(t, d.Metadata.Name, d.Status.ID, d.Metadata.Owner, d.Spec.State, strconv.Itoa(d.Status.Keys), strconv.Itoa(d.Status.Subscriptions), when(d.Status.CreatedAt))
	}
	return t.Flush()
}

type subscription struct {
	Spec struct {
		Application, API, Version, Plan, State string
		Topics                                 []string
		Expires                                time.Time
	}
	Status struct {
		ID, Owner string
		CreatedAt time.Time
	}
}

func subscriptionTable(w io.Writer, a answer) error {
	var list struct{ Items []subscription }
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "SUBSCRIPTION", "APP", "OWNER", "API", "PLAN", "STATE", "TOPICS", "EXPIRES")
	for _, s := range list.Items {
		topics := strings.Join(s.Spec.Topics, ",")
		if topics == "" {
			topics = "all"
		}
		row(t, s.Status.ID, s.Spec.Application, s.Status.Owner, s.Spec.API+"@"+s.Spec.Version, s.Spec.Plan, s.Spec.State, topics, when(s.Spec.Expires))
	}
	return t.Flush()
}

func keyTable(w io.Writer, a answer) error {
	var list struct {
		Items []struct {
			ID, Name, State    string
			Expires, CreatedAt time.Time
			AllowedIPs         []string
			AllowedOrigins     []string
			Topics             []string
		}
	}
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "KEY", "NAME", "STATE", "FROM", "TOPICS", "CREATED", "EXPIRES")
	for _, k := range list.Items {
		from, topics := strings.Join(slices.Concat(k.AllowedIPs, k.AllowedOrigins), ","), strings.Join(k.Topics, ",")
		if from == "" {
			from = "anywhere"
		}
		if topics == "" {
			topics = "all"
		}
		row(t, k.ID, k.Name, k.State, from, topics, when(k.CreatedAt), when(k.Expires))
	}
	return t.Flush()
}

func denyTable(w io.Writer, a answer) error {
	var list struct {
		Items []struct {
			ID, Kind, Value, Reason, By string
			Until                       time.Time
		}
	}
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "DENY", "WHAT", "VALUE", "UNTIL", "BY", "REASON")
	for _, d := range list.Items {
		row(t, d.ID, d.Kind, d.Value, when(d.Until), d.By, d.Reason)
	}
	return t.Flush()
}

func revocationTable(w io.Writer, a answer) error {
	var list struct {
		Items []struct {
			Kind, Issuer, Value, Reason, By string
			Before, Until                   time.Time
			Hard                            bool
		}
	}
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "REVOKED", "ISSUER", "VALUE", "ISSUED BEFORE", "BY", "REASON")
	for _, r := range list.Items {
		row(t, r.Kind, r.Issuer, r.Value, when(r.Before), r.By, r.Reason)
	}
	return t.Flush()
}

func devTable(w io.Writer, a answer) error {
	var list struct {
		Items []struct {
			ID, DisplayName, State, BasePath string
			URLs                             []string `json:"urls"`
			Plans                            []string
			Topics                           []struct{ Name string }
		}
	}
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "API", "STATE", "TOPICS", "PLANS", "URL")
	for _, d := range list.Items {
		at := d.BasePath
		if len(d.URLs) > 0 {
			at = d.URLs[len(d.URLs)-1]
		}
		row(t, d.ID, d.State, strconv.Itoa(len(d.Topics)), strings.Join(d.Plans, ","), at)
	}
	return t.Flush()
}

// newCreateAccess makes the verbs that create resources.
func newCreateAccess(e env) []*cobra.Command {
	return []*cobra.Command{newCreatePlan(e), newCreateApp(e), newCreateKey(e), newCreateSecret(e), newCreateTicket(e)}
}

// envelope is a definition with what the flags of a verb say.
func envelope(kind string, meta, spec map[string]any) ([]byte, error) {
	for _, m := range []map[string]any{meta, spec} {
		for k, v := range m {
			if v == "" || v == 0 || v == int64(0) || v == false {
				delete(m, k)
			}
		}
	}
	return json.Marshal(map[string]any{"apiVersion": "sluice/v1", "kind": kind, "metadata": meta, "spec": spec})
}

func newCreatePlan(e env) *cobra.Command {
	var display, description, unit, rate, duration, onEnd, sourceDown string
	var events int64
	var every, connections, perKey int
	var countOnly, approval bool
	c := &cobra.Command{Use: "plan NAME", Short: "Create a plan: what a subscription may take (admin)", Args: cobra.ExactArgs(1),
		Example: "  sluice create plan Trial --events 1000 --unit hour --connections 2 --approval"}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.Flags().StringVar(&display, "display-name", "", "what people read; default NAME")
	c.Flags().StringVar(&description, "description", "", "what the plan is for")
	c.Flags().Int64Var(&events, "events", 0, "events in a window; 0 = not metered")
	c.Flags().StringVar(&unit, "unit", "day", "unit of the window: minute, hour, day, month or year")
	c.Flags().IntVar(&every, "every", 1, "units in a window")
	c.Flags().StringVar(&rate, "rate", "", "events per time of each connection, such as 10/1s; more waits")
	c.Flags().IntVar(&connections, "connections", 0, "streams of a subscription at once; 0 = no limit")
	c.Flags().IntVar(&perKey, "per-key", 0, "streams of an API key at once; 0 = no limit")
	c.Flags().StringVar(&duration, "max-duration", "", "of one stream")
	c.Flags().StringVar(&onEnd, "on-quota-end", "", "auto, pause or close")
	c.Flags().StringVar(&sourceDown, "when-source-down", "", "open or closed: what happens while the shared counters are away")
	c.Flags().BoolVar(&countOnly, "count-only", false, "count, but refuse nothing")
	c.Flags().BoolVar(&approval, "approval", false, "a publisher must let each subscription in")
	c.RunE = func(c *cobra.Command, args []string) error {
		spec := map[string]any{"maxDuration": duration, "onQuotaEnd": onEnd, "whenSourceDown": sourceDown, "requiresApproval": approval}
		if events > 0 {
			spec["quota"] = map[string]any{"events": events, "every": every, "unit": unit}
		}
		if countOnly {
			spec["enforce"] = json.RawMessage("false")
		}
		if connections > 0 || perKey > 0 {
			spec["connections"] = map[string]any{"perSubscription": connections, "perKey": perKey}
		}
		if n, per, ok := strings.Cut(rate, "/"); ok {
			spec["rate"] = map[string]any{"events": json.Number(n), "per": per}
		} else if rate != "" {
			return withCode(exitUsage, fmt.Errorf("--rate %q: want events and a time, such as 10/1s", rate))
		}
		body, err := envelope("Plan", map[string]any{"name": args[0], "displayName": display, "description": description}, spec)
		if err != nil {
			return withCode(exitUsage, err)
		}
		return ask(c, e, f, dry(call{method: http.MethodPost, path: "/plans", body: body}, *dryRun), changed("created", "plan "+args[0]))
	}
	return c
}

func newCreateApp(e env) *cobra.Command {
	var display, description, owner string
	c := &cobra.Command{Use: "app NAME", Aliases: []string{"application"}, Short: "Create an application, which can subscribe to APIs", Args: cobra.ExactArgs(1),
		Example: "  sluice create app trader"}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.Flags().StringVar(&display, "display-name", "", "what people read; default NAME")
	c.Flags().StringVar(&description, "description", "", "what the application is")
	c.Flags().StringVar(&owner, "owner", "", "whose it is; default you (another: admin)")
	c.RunE = func(c *cobra.Command, args []string) error {
		body, err := envelope("Application", map[string]any{"name": args[0], "displayName": display, "description": description, "owner": owner}, map[string]any{})
		if err != nil {
			return withCode(exitFailed, err)
		}
		return ask(c, e, f, dry(call{method: http.MethodPost, path: "/applications", body: body}, *dryRun), changed("created", "app "+args[0]))
	}
	return c
}

// keyFlags are the limits of a key.
type keyFlags struct {
	Name           string   `json:"name,omitempty"`
	Expires        string   `json:"expires,omitempty"`
	AllowedIPs     []string `json:"allowedIPs,omitempty"`
	AllowedOrigins []string `json:"allowedOrigins,omitempty"`
	Topics         []string `json:"topics,omitempty"`
}

func newCreateKey(e env) *cobra.Command {
	var in keyFlags
	var life time.Duration
	c := &cobra.Command{Use: "key APP", Short: "Make an API key of an application and print it, once", Args: cobra.ExactArgs(1),
		Example: "  KEY=$(sluice create key trader -q)\n  sluice tail -H \"ApiKey: $KEY\" http://localhost:8080/market/1.0.0/ticks"}
	f := addOutput(c)
	quiet := c.Flags().BoolP("quiet", "q", false, "print the key and nothing else")
	c.Flags().StringVar(&in.Name, "name", "", "what to call it")
	c.Flags().DurationVar(&life, "for", 0, "how long it lives, such as 720h; default for ever")
	c.Flags().StringSliceVar(&in.AllowedIPs, "ip", nil, "addresses or networks that may use it; default all")
	c.Flags().StringSliceVar(&in.AllowedOrigins, "origin", nil, "web origins that may use it; default all")
	c.Flags().StringArrayVar(&in.Topics, "topic", nil, "topic that it is good for (repeatable); default all")
	c.ValidArgsFunction = completeOf(e, f, "/applications", 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		if life > 0 {
			in.Expires = time.Now().UTC().Add(life).Format(time.RFC3339)
		}
		body, err := json.Marshal(in)
		if err != nil {
			return withCode(exitFailed, err)
		}
		return ask(c, e, f, call{method: http.MethodPost, path: appPath(args[0], "keys"), body: body}, func(w io.Writer, a answer) error {
			var made struct{ ID, Key string }
			if err := a.into(&made); err != nil {
				return err
			}
			if !*quiet {
				fmt.Fprintf(w, "key %s of app %s created; it is shown only now:\n", shown(made.ID), shown(args[0]))
			}
			_, err := fmt.Fprintln(w, shown(made.Key))
			return err
		})
	}
	return c
}

func newCreateSecret(e env) *cobra.Command {
	c := &cobra.Command{Use: "secret APP", Short: "Make the client secret of an application and print it, once; an older one ends", Args: cobra.ExactArgs(1),
		Example: "  sluice create secret trader"}
	f := addOutput(c)
	c.ValidArgsFunction = completeOf(e, f, "/applications", 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		return ask(c, e, f, call{method: http.MethodPost, path: appPath(args[0], "secret")}, func(w io.Writer, a answer) error {
			var made struct{ ClientID, ClientSecret string }
			if err := a.into(&made); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "client id      %s\nclient secret  %s\nIt is shown only now.\n", shown(made.ClientID), shown(made.ClientSecret))
			return err
		})
	}
	return c
}

func newCreateTicket(e env) *cobra.Command {
	var app string
	c := &cobra.Command{Use: "ticket ID TOPIC", Short: "Make a ticket that opens one stream within 30 seconds, and print it", Args: cobra.ExactArgs(2),
		Example: "  sluice tail --once \"http://localhost:8080/market/1.0.0/ticks?ticket=$(sluice create ticket market@1.0.0 /ticks)\""}
	f := addOutput(c)
	c.Flags().StringVar(&app, "app", "", "application that reads; default: try the API out, or the only one that has subscribed")
	c.ValidArgsFunction = completeTopics(e, f)
	c.RunE = func(c *cobra.Command, args []string) error {
		body, err := json.Marshal(struct {
			Topic       string `json:"topic"`
			Application string `json:"application,omitempty"`
		}{args[1], app})
		if err != nil {
			return withCode(exitFailed, err)
		}
		return ask(c, e, f, call{method: http.MethodPost, path: apiPath(args[0], "tickets"), body: body}, func(w io.Writer, a answer) error {
			var made struct{ Ticket string }
			if err := a.into(&made); err != nil {
				return err
			}
			_, err := fmt.Fprintln(w, shown(made.Ticket))
			return err
		})
	}
	return c
}
