package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"sluice/internal/doc"
)

// newTopic lists and changes the topics of an API.
func newTopic(e env) *cobra.Command {
	c := &cobra.Command{Use: "topic", Short: "List, add, set and delete the topics of an API", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newTopicList(e), newTopicAdd(e), newTopicSet(e), newTopicDelete(e))
	return c
}

func newTopicList(e env) *cobra.Command {
	c := &cobra.Command{Use: "list ID", Short: "List the topics of an API", Args: cobra.ExactArgs(1)}
	f := addOutput(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		return ask(c, e, f, call{method: http.MethodGet, path: apiPath(args[0], "topics")}, topicTable)
	}
	return c
}

func topicTable(w io.Writer, a answer) error {
	n, err := a.node()
	if err != nil {
		return err
	}
	t := columns(w, "TOPIC", "SECURITY", "BACKEND", "SCOPES", "DESCRIPTION")
	for _, item := range n.Get("items").Items {
		cell := func(key string) string {
			if v := item.Get(key); v != nil {
				return v.Text
			}
			return ""
		}
		security := cell("security")
		if security == "" {
			security = "required"
		}
		var scopes []string
		if v := item.Get("scopes"); v != nil {
			for _, s := range v.Items {
				scopes = append(scopes, s.Text)
			}
		}
		row(t, cell("name"), security, cell("backend"), strings.Join(scopes, ","), cell("description"))
	}
	return t.Flush()
}

func newTopicAdd(e env) *cobra.Command {
	var backend, description string
	var scopes []string
	var open bool
	c := &cobra.Command{Use: "add ID TOPIC", Short: "Add a topic to an API",
		Example: "  sluice topic add ServerSentEvents@1.0.0 /ticks --backend /stream\n  sluice topic add market@1.0.0 '/quotes/{symbol}' --open",
		Args:    cobra.ExactArgs(2)}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.Flags().StringVar(&backend, "backend", "", "path below the endpoint; default the topic's own")
	c.Flags().StringVar(&description, "description", "", "what the topic is for")
	c.Flags().StringSliceVar(&scopes, "scopes", nil, "rights, any of which suffices")
	c.Flags().BoolVar(&open, "open", false, "no credential needed")
	c.RunE = func(c *cobra.Command, args []string) error {
		topic := &doc.Node{Kind: doc.Map}
		field := func(key, text string) {
			if text != "" {
				putField(topic, key, &doc.Node{Kind: doc.String, Text: text})
			}
		}
		field("name", "/"+strings.TrimPrefix(args[1], "/"))
		field("description", description)
		field("backend", backend)
		if open {
			field("security", "none")
		}
		if len(scopes) > 0 {
			list, err := doc.NodeOf(scopes)
			if err != nil {
				return withCode(exitFailed, err)
			}
			putField(topic, "scopes", list)
		}
		body, err := doc.WriteJSON(topic)
		if err != nil {
			return withCode(exitFailed, err)
		}
		r := dry(call{method: http.MethodPost, path: apiPath(args[0], "topics"), body: body}, *dryRun)
		return ask(c, e, f, r, changed(fmt.Sprintf("changed: topic /%s added", strings.TrimPrefix(args[1], "/")), args[0]))
	}
	return c
}

// newTopicSet makes a list of topics all that an API has.
func newTopicSet(e env) *cobra.Command {
	var file string
	c := &cobra.Command{Use: "set ID -f FILE|-", Short: "Make the topics of a file, a list as under spec.topics, all that an API has",
		Example: "  sluice topic list market@1.0.0 -o yaml   shows them under items\n  sluice topic set market@1.0.0 -f topics.yaml --dry-run", Args: cobra.ExactArgs(1)}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.Flags().StringVarP(&file, "file", "f", "", "file with the list, or - for standard input")
	_ = c.MarkFlagRequired("file")
	c.RunE = func(c *cobra.Command, args []string) error {
		r := call{method: http.MethodPut, path: apiPath(args[0], "topics")}
		if err := r.attach(e, file); err != nil {
			return err
		}
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		if r.ifMatch, err = cl.tag(c.Context(), args[0]); err != nil {
			return err
		}
		return ask(c, e, f, dry(r, *dryRun), changed("changed: topics set", args[0]))
	}
	return c
}

func newTopicDelete(e env) *cobra.Command {
	c := &cobra.Command{Use: "delete ID TOPIC", Short: "Delete a topic of an API: its streams end",
		Example: "  sluice topic delete ServerSentEvents@1.0.0 '/*'", Args: cobra.ExactArgs(2)}
	f := addServer(c)
	dryRun := addDryRun(c)
	c.ValidArgsFunction = completeTopics(e, f)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := newClient(e, f)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		r := dry(call{method: http.MethodDelete, path: apiPath(args[0], "topics"), query: url.Values{"name": {args[1]}}, ifMatch: "*"}, *dryRun)
		a, err := cl.do(ctx, r)
		if err != nil {
			return err
		}
		return withCode(exitFailed, changed(fmt.Sprintf("changed: topic %s deleted", args[1]), args[0])(e.stdout, a))
	}
	return c
}
