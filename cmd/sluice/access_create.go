package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

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
	dryRun := addDryOnly(c)
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
	dryRun := addDryOnly(c)
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
