package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// usage is how much of its plan a subscription has used.
type usage struct {
	Known    bool
	Why      string
	Silent   int
	Plan     string
	Enforced bool
	Events   *eventUsage
	Streams  *streamUsage
	// Application is of the whole application.
	Application *struct {
		Plan    string
		Events  *eventUsage
		Streams streamUsage
	}
}

type eventUsage struct {
	Used, Reserved, Limit int64
	Every                 int
	Unit                  string
	ResetAt               time.Time
}

type streamUsage struct{ Open, Limit int }

// text is "120 of 50000 per day".
func (u *eventUsage) text() string {
	if u == nil {
		return "not counted"
	}
	per := u.Unit
	if u.Every > 1 {
		per = fmt.Sprintf("%d %ss", u.Every, u.Unit)
	}
	return fmt.Sprintf("%d of %d per %s", u.Used, u.Limit, per)
}

func (u *streamUsage) text() string {
	switch {
	case u == nil:
		return "not limited"
	case u.Limit == 0:
		return strconv.Itoa(u.Open)
	}
	return fmt.Sprintf("%d of %d", u.Open, u.Limit)
}

// inShort is for a cell of a table.
func (u usage) inShort() (events, streams string) {
	if !u.Known {
		return "unknown", "unknown"
	}
	return u.Events.text(), u.Streams.text()
}

// newUsage tells how much of its plan a subscription has used.
func newUsage(e env) *cobra.Command {
	c := &cobra.Command{Use: "usage SUBSCRIPTION", Short: "Tell how much of its plan a subscription has used, and when that begins anew", Args: cobra.ExactArgs(1),
		Long:    "usage takes the id of a subscription, or APP/NAME@VERSION. What edges deliver counts within a second.",
		Example: "  sluice usage trader/market@1.0.0"}
	f := addOutput(c)
	c.ValidArgsFunction = completeOf(e, f, "/subscriptions", 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		path, err := cl.pathOf(ctx, "/subscriptions", args[0])
		if err != nil {
			return err
		}
		a, err := cl.do(ctx, call{method: http.MethodGet, path: path + "/usage"})
		if err != nil {
			return err
		}
		return withCode(exitFailed, f.show(e.stdout, a, func(w io.Writer, a answer) error {
			var u usage
			if err := a.into(&u); err != nil {
				return err
			}
			return u.write(w, args[0])
		}))
	}
	return c
}

// write shows usage for people.
func (u usage) write(w io.Writer, name string) error {
	t := columns(w, "SUBSCRIPTION", shown(name))
	plan := u.Plan
	if !u.Enforced {
		plan += ", only counts"
	}
	row(t, "Plan", plan)
	if !u.Known {
		row(t, "Usage", "unknown: "+u.Why)
		return t.Flush()
	}
	events := func(of string, n *eventUsage) {
		row(t, of, n.text())
		if n == nil {
			return
		}
		if n.Reserved > 0 {
			row(t, "Reserved by edges", strconv.FormatInt(n.Reserved, 10))
		}
		row(t, "Begins anew", when(n.ResetAt))
	}
	events("Events", u.Events)
	row(t, "Streams", u.Streams.text())
	if a := u.Application; a != nil {
		row(t, "Streams of the app", a.Streams.text())
		if a.Plan != "" {
			row(t, "Plan of the app", a.Plan)
			events("Events of the app", a.Events)
		}
	}
	if u.Silent > 0 {
		row(t, "Silent edges", fmt.Sprintf("%d, what they hold is missing", u.Silent))
	}
	return t.Flush()
}

// usagesAtOnce is how many subscriptions are asked about at one moment.
const usagesAtOnce = 8

// newDescribeApp tells of one application what a person asks first.
func newDescribeApp(e env) *cobra.Command {
	c := &cobra.Command{Use: "app APP", Aliases: []string{"application"}, Short: "Tell about an application: its keys, subscriptions and what they have used",
		Args: cobra.ExactArgs(1), Example: "  sluice describe app trader"}
	f := addServer(c)
	c.ValidArgsFunction = completeOf(e, f, "/applications", 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := newClient(e, f)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		a, err := cl.do(ctx, call{method: http.MethodGet, path: appPath(args[0])})
		if err != nil {
			return err
		}
		var app applicationDefinition
		if err := a.into(&app); err != nil {
			return withCode(exitFailed, err)
		}
		keys, err := cl.do(ctx, call{method: http.MethodGet, path: appPath(app.Status.ID, "keys")})
		if err != nil {
			return err
		}
		subscriptions, err := cl.pages(ctx, "/subscriptions", url.Values{"application": {app.Status.ID}})
		if err != nil {
			return err
		}
		var list struct{ Items []subscription }
		if err := subscriptions.into(&list); err != nil {
			return withCode(exitFailed, err)
		}
		used, err := cl.usages(ctx, list.Items)
		if err != nil {
			return err
		}
		return withCode(exitFailed, describeApp(e.stdout, app, keys, list.Items, used))
	}
	return c
}

// usages asks for the usage of each subscription.
func (c *remote) usages(ctx context.Context, list []subscription) ([]usage, error) {
	out := make([]usage, len(list))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(usagesAtOnce)
	for i, s := range list {
		asking.Go(func() error {
			a, err := c.do(ctx, call{method: http.MethodGet, path: "/subscriptions/" + url.PathEscape(s.Status.ID) + "/usage"})
			if err != nil {
				return err
			}
			return withCode(exitFailed, a.into(&out[i]))
		})
	}
	return out, asking.Wait()
}

// describeApp writes an application for people. Keys are shown by their ids; secrets are not known.
func describeApp(w io.Writer, app applicationDefinition, keys answer, list []subscription, used []usage) error {
	t := columns(w, "APP", shown(app.Metadata.Name))
	line := func(key, value string) {
		if value != "" {
			row(t, key, value)
		}
	}
	line("ID", app.Status.ID)
	line("Display name", app.Metadata.DisplayName)
	line("Description", app.Metadata.Description)
	line("Owner", app.Metadata.Owner)
	line("State", app.Spec.State)
	line("Plan of its own", app.Spec.Plan)
	for _, client := range app.Spec.Clients {
		line("Client", client.Issuer+" "+client.ID)
	}
	line("Client secret", map[bool]string{true: "yes", false: "no"}[app.Status.Secret])
	line("Created", when(app.Status.CreatedAt))
	if len(used) > 0 && used[0].Application != nil {
		line("Open streams", used[0].Application.Streams.text())
		if own := used[0].Application.Events; own != nil {
			line("Events", own.text()+", anew "+when(own.ResetAt))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := keyTable(w, keys); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = columns(w, "SUBSCRIPTION", "API", "PLAN", "STATE", "TOPICS", "EVENTS", "ANEW", "STREAMS")
	for i, s := range list {
		topics := strings.Join(s.Spec.Topics, ",")
		if topics == "" {
			topics = "all"
		}
		events, streams := used[i].inShort()
		anew := ""
		if used[i].Events != nil {
			anew = when(used[i].Events.ResetAt)
		}
		row(t, s.Status.ID, s.Spec.API+"@"+s.Spec.Version, s.Spec.Plan, s.Spec.State, topics, events, anew, streams)
	}
	return t.Flush()
}
