package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completeTime bounds how long a shell waits for names.
const completeTime = 2 * time.Second

// completer is what cobra asks for the next argument.
type completer = func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeIDs offers the ids of the server's APIs; only as many as the verb takes.
func completeIDs(e env, f *serverFlags, most int) completer {
	return func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return liveIDs(c.Context(), e, f, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// liveIDs asks for the ids that begin as begun; no answer is no offer.
func liveIDs(ctx context.Context, e env, f *serverFlags, begun string) []cobra.Completion {
	cl, err := newClient(e, f)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	query := url.Values{"limit": {"200"}}
	if name, _, hasVersion := strings.Cut(begun, "@"); hasVersion {
		query.Set("name", name)
	} else if begun != "" {
		query.Set("q", begun)
	}
	a, err := cl.do(ctx, call{method: http.MethodGet, path: "/apis", query: query})
	if err != nil {
		return nil
	}
	var page apiPage
	if a.into(&page) != nil {
		return nil
	}
	var out []cobra.Completion
	for _, s := range page.Items {
		if strings.HasPrefix(s.ID, begun) {
			out = append(out, cobra.CompletionWithDesc(s.ID, s.State))
		}
	}
	return out
}

// completeTopics offers an id, then the names of its topics.
func completeTopics(e env, f *serverFlags) completer {
	return completeBelow(e, f, "topics", func(item summaryItem) string { return item.Name })
}

// completeRevisions offers an id, then the numbers of its revisions.
func completeRevisions(e env, f *serverFlags) completer {
	return completeBelow(e, f, "revisions", func(item summaryItem) string { return strconv.Itoa(item.N) })
}

// summaryItem is what completion needs of an entry of any list.
type summaryItem struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

func completeBelow(e env, f *serverFlags, below string, name func(summaryItem) string) completer {
	return func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		if len(args) == 0 {
			return liveIDs(c.Context(), e, f, begun), none
		}
		cl, err := newClient(e, f)
		if err != nil || len(args) > 1 {
			return nil, none
		}
		ctx, cancel := context.WithTimeout(c.Context(), completeTime)
		defer cancel()
		a, err := cl.do(ctx, call{method: http.MethodGet, path: apiPath(args[0], below)})
		if err != nil {
			return nil, none
		}
		var list struct {
			Items []summaryItem `json:"items"`
		}
		if a.into(&list) != nil {
			return nil, none
		}
		var out []cobra.Completion
		for _, item := range list.Items {
			if s := name(item); strings.HasPrefix(s, begun) {
				out = append(out, s)
			}
		}
		return out, none
	}
}

// idsOrFiles offers ids of the server, and files.
func idsOrFiles(e env, f *serverFlags) completer {
	return func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return liveIDs(c.Context(), e, f, begun), cobra.ShellCompDirectiveDefault
	}
}
