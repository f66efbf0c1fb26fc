package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// newSubscribe subscribes an application to an API.
func newSubscribe(e env) *cobra.Command {
	var plan string
	var topics []string
	var life time.Duration
	c := &cobra.Command{Use: "subscribe APP ID", Short: "Subscribe an application to an API", Args: cobra.ExactArgs(2),
		Long: "subscribe gives an application the right to read an API by one of the plans that the API offers.\n" +
			"Without --plan it takes the only one.",
		Example: "  sluice subscribe trader market@1.0.0 --plan AsyncGold"}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.Flags().StringVar(&plan, "plan", "", "plan of the API; default the only one it offers")
	c.Flags().StringArrayVar(&topics, "topic", nil, "topic that it is for (repeatable); default all")
	c.Flags().DurationVar(&life, "for", 0, "how long, such as 720h; default for ever")
	c.ValidArgsFunction = completeEach(e, f, inList("/applications"), inList("/dev/apis"))
	_ = c.RegisterFlagCompletionFunc("plan", completeOf(e, f, "/plans", 0))
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		name, version, ok := strings.Cut(args[1], "@")
		if !ok {
			return withCode(exitUsage, fmt.Errorf("%q is no API: want NAME@VERSION", args[1]))
		}
		if plan == "" {
			a, err := cl.do(ctx, call{method: http.MethodGet, path: "/dev/apis/" + url.PathEscape(args[1])})
			if err != nil {
				return err
			}
			var api struct{ Plans []string }
			if err := a.into(&api); err != nil {
				return withCode(exitFailed, err)
			}
			if len(api.Plans) != 1 {
				return withCode(exitUsage, fmt.Errorf("--plan is needed: %s offers %s", shown(args[1]), shown(orNone(strings.Join(api.Plans, ", ")))))
			}
			plan = api.Plans[0]
		}
		spec := map[string]any{"application": args[0], "api": name, "version": version, "plan": plan}
		if len(topics) > 0 {
			spec["topics"] = topics
		}
		if life > 0 {
			spec["expires"] = time.Now().UTC().Add(life).Format(time.RFC3339)
		}
		body, err := envelope("Subscription", map[string]any{}, spec)
		if err != nil {
			return withCode(exitFailed, err)
		}
		a, err := cl.do(ctx, dry(call{method: http.MethodPost, path: "/subscriptions", body: body}, *dryRun))
		if err != nil {
			return err
		}
		return withCode(exitFailed, f.show(e.stdout, a, func(w io.Writer, a answer) error {
			if *dryRun {
				return changed("subscribed to "+args[1], args[0])(w, a)
			}
			var s subscription
			if err := a.into(&s); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "%s subscribed to %s by %s: %s\n", shown(args[0]), shown(args[1]), shown(s.Spec.Plan), shown(s.Spec.State))
			return err
		}))
	}
	return c
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// newDeleteAccess makes the verbs that delete resources.
func newDeleteAccess(e env) []*cobra.Command {
	out := []*cobra.Command{newDeleteKey(e)}
	for _, r := range resources {
		if r.one != "" {
			out = append(out, newDeleteOne(e, r))
		}
	}
	return out
}

func newDeleteOne(e env, r resource) *cobra.Command {
	c := &cobra.Command{Use: r.one + " NAME...", Short: "Delete " + r.many, Args: cobra.MinimumNArgs(1)}
	for _, a := range r.aliases {
		if !strings.HasSuffix(a, "s") {
			c.Aliases = append(c.Aliases, a)
		}
	}
	f := addServer(c)
	var dryRun bool
	if r.one != "deny" {
		c.Flags().BoolVar(&dryRun, "dry-run", false, "check everything and change nothing")
	}
	c.ValidArgsFunction = completeOf(e, f, r.path, 0)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := newClient(e, f)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		return each(args, func(name string) error {
			path, err := cl.pathOf(ctx, r.path, name)
			if err != nil {
				return err
			}
			a, err := cl.do(ctx, dry(call{method: http.MethodDelete, path: path, ifMatch: "*"}, dryRun))
			if err != nil {
				return err
			}
			return withCode(exitFailed, changed("deleted", r.one+" "+name)(e.stdout, a))
		})
	}
	return c
}

func newDeleteKey(e env) *cobra.Command {
	c := &cobra.Command{Use: "key APP KEY...", Short: "Delete API keys of an application: streams that came by them end", Args: cobra.MinimumNArgs(2)}
	f := addServer(c)
	c.ValidArgsFunction = completeEach(e, f, inList("/applications"), keysOf)
	c.RunE = func(c *cobra.Command, args []string) error {
		return each(args[1:], func(key string) error {
			return ask(c, e, f, call{method: http.MethodDelete, path: appPath(args[0], "keys", key), ifMatch: "*"}, changed("deleted", "key "+key))
		})
	}
	return c
}

// newStates makes the verbs that set the state of subscriptions, of which block exists for APIs.
func newStates(e env) []*cobra.Command {
	group := func(use, short string) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	}
	var out []*cobra.Command
	for _, s := range []struct{ verb, short, state, done string }{
		{"unblock", "Let subscriptions read: blocked ones, or those that wait for approval", "UNBLOCKED", "unblocked"},
		{"hold", "Hold subscriptions back: their streams end", "ON_HOLD", "held"},
		{"reject", "Reject subscriptions that wait for approval", "REJECTED", "rejected"},
	} {
		c := group(s.verb, s.short)
		c.AddCommand(newState(e, s.state, s.done))
		out = append(out, c)
	}
	return out
}

// newState sets the state of subscriptions.
func newState(e env, state, done string) *cobra.Command {
	c := &cobra.Command{Use: "subscription NAME...", Aliases: []string{"sub"}, Short: "Set the state of subscriptions, by id or as APP/API@VERSION", Args: cobra.MinimumNArgs(1)}
	f := addServer(c)
	c.ValidArgsFunction = completeOf(e, f, "/subscriptions", 0)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := newClient(e, f)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		body, err := json.Marshal(map[string]string{"state": state})
		if err != nil {
			return withCode(exitFailed, err)
		}
		return each(args, func(name string) error {
			path, err := cl.pathOf(ctx, "/subscriptions", name)
			if err != nil {
				return err
			}
			a, err := cl.do(ctx, call{method: http.MethodPost, path: path + "/state", body: body})
			if err != nil {
				return err
			}
			return withCode(exitFailed, changed(done, "subscription "+name)(e.stdout, a))
		})
	}
	return c
}

// newDeny refuses somebody or something.
func newDeny(e env) *cobra.Command {
	var reason string
	var life time.Duration
	c := &cobra.Command{Use: "deny ip|app|subject|api|subscription VALUE", Short: "Refuse an address, app, subject, API or subscription: its streams end",
		Long:      "A subject is written as its issuer, a space, and its name. 'sluice delete deny ID' takes a refusal back.",
		Example:   "  sluice deny ip 203.0.113.0/24 --for 1h --reason scraping\n  sluice deny app trader",
		Args:      cobra.ExactArgs(2),
		ValidArgs: []cobra.Completion{"ip", "app", "subject", "api", "subscription"}}
	f := addOutput(c)
	c.Flags().StringVar(&reason, "reason", "", "why")
	c.Flags().DurationVar(&life, "for", 0, "how long; default until deleted")
	c.RunE = func(c *cobra.Command, args []string) error {
		kind := args[0]
		if kind == "app" {
			kind = "application"
		}
		in := map[string]string{"kind": kind, "value": args[1]}
		if reason != "" {
			in["reason"] = reason
		}
		if life > 0 {
			in["until"] = time.Now().UTC().Add(life).Format(time.RFC3339)
		}
		body, err := json.Marshal(in)
		if err != nil {
			return withCode(exitFailed, err)
		}
		return ask(c, e, f, call{method: http.MethodPost, path: "/denies", body: body}, func(w io.Writer, a answer) error {
			var made struct{ ID string }
			if err := a.into(&made); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "%s %s denied: deny %s\n", shown(args[0]), shown(args[1]), shown(made.ID))
			return err
		})
	}
	return c
}

// newRevoke ends credentials.
func newRevoke(e env) *cobra.Command {
	c := &cobra.Command{Use: "revoke", Short: "End credentials: their streams end within seconds", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newRevokeKey(e), newRevokeOf(e, "app APP", "Revoke all tokens of an application that were issued until now", 1,
		func(args []string, _ string) (map[string]any, error) {
			return map[string]any{"kind": "application", "value": args[0]}, nil
		}), newRevokeOf(e, "token TOKEN|-", "Revoke one token; - reads it from standard input", 1, revokedToken),
		newRevokeOf(e, "subject ISSUER SUBJECT", "Revoke all tokens of a subject that were issued until now", 2,
			func(args []string, _ string) (map[string]any, error) {
				return map[string]any{"kind": "subject", "issuer": args[0], "value": args[1]}, nil
			}), newRevokeOf(e, "issuer ISSUER", "Revoke all tokens of an issuer that were issued until now", 1,
			func(args []string, _ string) (map[string]any, error) {
				return map[string]any{"kind": "issuer", "issuer": args[0]}, nil
			}))
	return c
}

// newRevokeOf revokes what of makes of the arguments, and of standard input if an argument is a dash.
func newRevokeOf(e env, use, short string, n int, of func(args []string, stdin string) (map[string]any, error)) *cobra.Command {
	var reason string
	var hard bool
	what, _, _ := strings.Cut(use, " ")
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(n)}
	f := addOutput(c)
	c.Flags().StringVar(&reason, "reason", "", "why")
	c.Flags().BoolVar(&hard, "hard", false, "end streams without letting out what was sent already")
	if what == "app" {
		c.ValidArgsFunction = completeOf(e, f, "/applications", 1)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		var stdin string
		if args[0] == "-" {
			text, err := readLimited(e, "-")
			if err != nil {
				return withCode(exitUsage, err)
			}
			stdin = strings.TrimSpace(string(text))
		}
		in, err := of(args, stdin)
		if err != nil {
			return withCode(exitUsage, err)
		}
		if reason != "" {
			in["reason"] = reason
		}
		if hard {
			in["hard"] = true
		}
		body, err := json.Marshal(in)
		if err != nil {
			return withCode(exitFailed, err)
		}
		return ask(c, e, f, call{method: http.MethodPost, path: "/revocations", body: body}, func(w io.Writer, a answer) error {
			_, err := fmt.Fprintf(w, "%s revoked\n", what)
			return err
		})
	}
	return c
}

// revokedToken names a token by its issuer and id, which stand in it. Nothing of it is sent but these.
func revokedToken(args []string, stdin string) (map[string]any, error) {
	text := args[0]
	if text == "-" {
		text = stdin
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errors.New("that is no token: want three parts with dots between")
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c struct{ Iss, Jti string }
	if err != nil || json.Unmarshal(claims, &c) != nil || c.Iss == "" || c.Jti == "" {
		return nil, errors.New("the token has no issuer and id; revoke its subject or application instead")
	}
	return map[string]any{"kind": "token", "issuer": c.Iss, "value": c.Jti}, nil
}

// newRevokeKey revokes API keys and keeps their records.
func newRevokeKey(e env) *cobra.Command {
	c := &cobra.Command{Use: "key APP KEY...", Short: "Revoke API keys of an application for good", Args: cobra.MinimumNArgs(2)}
	f := addServer(c)
	c.ValidArgsFunction = completeEach(e, f, inList("/applications"), keysOf)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := newClient(e, f)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		return each(args[1:], func(id string) error {
			path := appPath(args[0], "keys", id)
			a, err := cl.do(ctx, call{method: http.MethodGet, path: path})
			if err != nil {
				return err
			}
			var key map[string]any
			if err := a.into(&key); err != nil {
				return withCode(exitFailed, err)
			}
			for _, fixed := range []string{"id", "application", "createdAt"} {
				delete(key, fixed)
			}
			key["state"] = "REVOKED"
			body, err := json.Marshal(key)
			if err != nil {
				return withCode(exitFailed, err)
			}
			if a, err = cl.do(ctx, call{method: http.MethodPut, path: path, body: body, ifMatch: a.etag}); err != nil {
				return err
			}
			return withCode(exitFailed, changed("revoked", "key "+id)(e.stdout, a))
		})
	}
	return c
}

// newSnippet prints a program that reads a topic.
func newSnippet(e env) *cobra.Command {
	query := url.Values{}
	lang := "curl"
	c := &cobra.Command{Use: "snippet ID [TOPIC]", Short: "Print a program that reads a topic of an API", Args: cobra.RangeArgs(1, 2),
		Example: "  sluice snippet market@1.0.0 /ticks --lang python > ticks.py"}
	f := addOutput(c)
	c.Flags().StringVar(&lang, "lang", lang, "curl, eventsource, fetch, python, go or java")
	c.ValidArgsFunction = completeEach(e, f, inList("/dev/apis"), func(args []string) string { return "/dev/apis/" + url.PathEscape(args[0]) + "/topics" })
	c.RunE = func(c *cobra.Command, args []string) error {
		query.Set("lang", lang)
		if len(args) > 1 {
			query.Set("topic", args[1])
		}
		return ask(c, e, f, call{method: http.MethodGet, path: "/dev/apis/" + url.PathEscape(args[0]) + "/snippets", query: query}, func(w io.Writer, a answer) error {
			var list struct{ Items []struct{ Code string } }
			if err := a.into(&list); err != nil {
				return err
			}
			for _, s := range list.Items {
				if _, err := io.WriteString(w, s.Code); err != nil { // a program keeps its lines
					return err
				}
			}
			return nil
		})
	}
	return c
}
