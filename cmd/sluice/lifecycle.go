package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// actions are the steps of an API's life, each a verb.
var actions = []struct{ verb, done, short string }{
	{"publish", "published", "Publish APIs: clients with a subscription get streams"},
	{"prototype", "prototyped", "Serve APIs as prototypes: no subscription needed"},
	{"demote", "demoted", "Take APIs back to CREATED: their streams end"},
	{"block", "blocked", "Block APIs: 503, streams end, events go on being stored"},
	{"republish", "republished", "Publish blocked APIs again: clients resume without a hole"},
	{"deprecate", "deprecated", "Deprecate APIs: what runs goes on, nothing new begins"},
	{"retire", "retired", "Retire deprecated APIs: 404, streams and feeds end"},
}

// newActions makes a verb of each action.
func newActions(e env) []*cobra.Command {
	var out []*cobra.Command
	for _, a := range actions {
		out = append(out, newAction(e, a.verb, a.done, a.short))
	}
	return out
}

func newAction(e env, verb, done, short string) *cobra.Command {
	var comment string
	var older bool
	again := true
	c := &cobra.Command{Use: verb + " ID...", Short: short, Args: cobra.MinimumNArgs(1)}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.ValidArgsFunction = completeIDs(e, f, 0)
	c.Flags().StringVar(&comment, "comment", "", "why, for the history")
	if verb == "publish" {
		c.Flags().BoolVar(&older, "deprecate-older", false, "deprecate the other published versions in the same change")
		c.Flags().BoolVar(&again, "require-resubscription", true, "false subscribes everyone who has subscribed to the version before")
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		change := stateChange{Action: verb, DeprecateOlder: older, Comment: comment}
		if !again {
			change.RequireResubscription = &again
		}
		body, err := json.Marshal(change)
		if err != nil {
			return withCode(exitFailed, err)
		}
		return each(args, func(id string) error {
			return ask(c, e, f, dry(call{method: http.MethodPost, path: apiPath(id, "lifecycle"), body: body}, *dryRun), changed(done, id))
		})
	}
	if verb == "block" {
		c.AddCommand(newState(e, "BLOCKED", done))
	}
	return c
}

// stateChange is the body of an action.
type stateChange struct {
	Action         string `json:"action"`
	DeprecateOlder bool   `json:"deprecateOlder,omitempty"`
	Comment        string `json:"comment,omitempty"`
	// RequireResubscription is left out where it says nothing new.
	RequireResubscription *bool `json:"requireResubscription,omitempty"`
}

// lifecycle is where an API is in its life.
type lifecycle struct {
	State     string   `json:"state"`
	Actions   []string `json:"actions"`
	Checklist []struct {
		Name   string `json:"name"`
		OK     bool   `json:"ok"`
		Detail string `json:"detail"`
	} `json:"checklist"`
	History []historyEntry `json:"history"`
}

// historyEntry is one change of an API.
type historyEntry struct {
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Action   string    `json:"action"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Revision int       `json:"revision"`
	Comment  string    `json:"comment"`
}

// newHistory lists the changes of an API.
func newHistory(e env) *cobra.Command {
	c := &cobra.Command{Use: "history ID", Short: "List who changed an API, newest first", Args: cobra.ExactArgs(1)}
	f := addOutput(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		return ask(c, e, f, call{method: http.MethodGet, path: apiPath(args[0], "lifecycle")}, func(w io.Writer, a answer) error {
			var l lifecycle
			if err := a.into(&l); err != nil {
				return err
			}
			return historyTable(w, l.History)
		})
	}
	return c
}

func historyTable(w io.Writer, list []historyEntry) error {
	t := columns(w, "WHEN", "WHO", "WHAT", "STATE", "REVISION", "COMMENT")
	for _, h := range list {
		state, revision := h.To, ""
		if h.From != "" && h.From != h.To {
			state = h.From + " -> " + h.To
		}
		if h.Revision > 0 {
			revision = strconv.Itoa(h.Revision)
		}
		row(t, when(h.At), h.By, h.Action, state, revision, h.Comment)
	}
	return t.Flush()
}

// newDescribe tells of one API, or application, what a person asks first.
func newDescribe(e env) *cobra.Command {
	c := &cobra.Command{Use: "describe", Short: "Tell about an API or an application: state, paths, topics, keys, usage", Args: needsKind,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	api := &cobra.Command{Use: "api ID", Short: "Tell about an API", Args: cobra.ExactArgs(1), Example: "  sluice describe api market@1.0.0"}
	f := addServer(api)
	api.ValidArgsFunction = completeIDs(e, f, 1)
	api.RunE = func(c *cobra.Command, args []string) error {
		cl, err := newClient(e, f)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		one, err := cl.do(ctx, call{method: http.MethodGet, path: apiPath(args[0])})
		if err != nil {
			return err
		}
		life, err := cl.do(ctx, call{method: http.MethodGet, path: apiPath(args[0], "lifecycle")})
		if err != nil {
			return err
		}
		return withCode(exitFailed, describe(e.stdout, args[0], one, life))
	}
	c.AddCommand(api, newDescribeApp(e))
	return c
}

// describe writes an API for people.
func describe(w io.Writer, id string, one, life answer) error {
	var api struct {
		Metadata struct {
			DisplayName, Description, Owner string
			Tags                            []string
		}
		Spec struct {
			Context, Endpoint, Visibility string
			Default                       bool
			Transports                    []string
			Topics                        []struct{ Name, Security, Backend string }
		}
		Status struct {
			URLs                 []string `json:"urls"`
			Deployments          map[string]int
			CreatedAt, UpdatedAt time.Time
			CreatedBy, UpdatedBy string
			Warnings             []finding
		}
	}
	var l lifecycle
	if err := one.into(&api); err != nil {
		return err
	}
	if err := life.into(&l); err != nil {
		return err
	}
	t := columns(w, "API", id)
	line := func(key, value string) {
		if value != "" {
			row(t, key, value)
		}
	}
	line("Display name", api.Metadata.DisplayName)
	line("Description", api.Metadata.Description)
	line("Owner", api.Metadata.Owner)
	line("Tags", strings.Join(api.Metadata.Tags, ", "))
	line("State", l.State)
	line("Possible now", strings.Join(l.Actions, ", "))
	line("Context", api.Spec.Context)
	if api.Spec.Default {
		line("Default version", "yes")
	}
	line("Endpoint", api.Spec.Endpoint)
	line("Transports", strings.Join(api.Spec.Transports, ", "))
	line("Visibility", api.Spec.Visibility)
	for _, u := range api.Status.URLs {
		line("URL", u)
	}
	line("Deployed", groupList(api.Status.Deployments))
	line("Created", strings.TrimSpace(when(api.Status.CreatedAt)+" "+api.Status.CreatedBy))
	line("Updated", strings.TrimSpace(when(api.Status.UpdatedAt)+" "+api.Status.UpdatedBy))
	for _, topic := range api.Spec.Topics {
		line("Topic", strings.TrimSpace(topic.Name+"  "+topic.Security+"  "+topic.Backend))
	}
	for _, check := range l.Checklist {
		if !check.OK {
			line("To publish", check.Name+": "+check.Detail)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range api.Status.Warnings {
		if _, err := fmt.Fprintln(w, "warning: "+f.text("")); err != nil {
			return err
		}
	}
	return nil
}
