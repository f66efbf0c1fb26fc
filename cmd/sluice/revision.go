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
)

// revision is an immutable copy of an API's definition.
type revision struct {
	N           int       `json:"n"`
	At          time.Time `json:"at"`
	By          string    `json:"by"`
	Auto        bool      `json:"auto"`
	Description string    `json:"description"`
	Groups      []string  `json:"groups"`
}

// newRevision lists, makes and restores revisions.
func newRevision(e env) *cobra.Command {
	c := &cobra.Command{Use: "revision", Short: "List, make, compare and restore revisions of an API", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newRevisionList(e), newRevisionCreate(e), newRevisionGet(e), newRevisionDelete(e), newRevisionDiff(e), newRevisionRestore(e))
	return c
}

func newRevisionList(e env) *cobra.Command {
	c := &cobra.Command{Use: "list ID", Short: "List the revisions of an API, newest first", Args: cobra.ExactArgs(1)}
	f := addOutput(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		return ask(c, e, f, call{method: http.MethodGet, path: apiPath(args[0], "revisions")}, func(w io.Writer, a answer) error {
			var list struct {
				Items []revision `json:"items"`
			}
			if err := a.into(&list); err != nil {
				return err
			}
			t := columns(w, "REVISION", "WHEN", "WHO", "SERVED BY", "DESCRIPTION")
			for _, r := range list.Items {
				about := r.Description
				if about == "" && r.Auto {
					about = "(cut by a change)"
				}
				row(t, strconv.Itoa(r.N), when(r.At), r.By, strings.Join(r.Groups, ","), about)
			}
			return t.Flush()
		})
	}
	return c
}

func newRevisionCreate(e env) *cobra.Command {
	var description string
	c := &cobra.Command{Use: "create ID", Short: "Keep the working copy of an API as a revision", Args: cobra.ExactArgs(1)}
	f := addOutput(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.Flags().StringVar(&description, "description", "", "what is in it")
	c.RunE = func(c *cobra.Command, args []string) error {
		body, err := json.Marshal(map[string]string{"description": description})
		if err != nil {
			return withCode(exitFailed, err)
		}
		return ask(c, e, f, call{method: http.MethodPost, path: apiPath(args[0], "revisions"), body: body}, func(w io.Writer, a answer) error {
			var r revision
			if err := a.into(&r); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "%s has revision %d\n", shown(args[0]), r.N)
			return err
		})
	}
	return c
}

func newRevisionGet(e env) *cobra.Command {
	c := &cobra.Command{Use: "get ID N", Short: "Show a revision with its definition", Args: cobra.ExactArgs(2)}
	f := addOutput(c)
	c.ValidArgsFunction = completeRevisions(e, f)
	c.RunE = func(c *cobra.Command, args []string) error {
		return ask(c, e, f, call{method: http.MethodGet, path: apiPath(args[0], "revisions", args[1])}, asYAML)
	}
	return c
}

func newRevisionDelete(e env) *cobra.Command {
	c := &cobra.Command{Use: "delete ID N", Short: "Delete a revision that is deployed nowhere", Args: cobra.ExactArgs(2)}
	f := addServer(c)
	c.ValidArgsFunction = completeRevisions(e, f)
	c.RunE = func(c *cobra.Command, args []string) error {
		r := call{method: http.MethodDelete, path: apiPath(args[0], "revisions", args[1])}
		return ask(c, e, f, r, changed("has no revision "+args[1], args[0]))
	}
	return c
}

func newRevisionDiff(e env) *cobra.Command {
	var against int
	c := &cobra.Command{Use: "diff ID N", Short: "Show what changed from a revision to the working copy, or to another",
		Long: "diff ends with 3 when there are changes.", Args: cobra.ExactArgs(2)}
	f := addOutput(c)
	c.ValidArgsFunction = completeRevisions(e, f)
	c.Flags().IntVar(&against, "against", 0, "number of the other revision; default the working copy")
	c.RunE = func(c *cobra.Command, args []string) error {
		r := call{method: http.MethodGet, path: apiPath(args[0], "revisions", args[1], "diff")}
		if against > 0 {
			r.query = url.Values{"against": {strconv.Itoa(against)}}
		}
		differ := false
		err := ask(c, e, f, r, func(w io.Writer, a answer) error {
			var p plan
			if err := a.into(&p); err != nil {
				return err
			}
			differ = len(p.Diff) > 0
			for _, d := range p.Diff {
				if _, err := fmt.Fprintln(w, d.text()); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil && differ {
			return withCode(exitDiffers, quiet{})
		}
		return err
	}
	return c
}

// quiet is an error that is told already.
type quiet struct{}

func (quiet) Error() string { return "" }

func newRevisionRestore(e env) *cobra.Command {
	c := &cobra.Command{Use: "restore ID N", Short: "Copy a revision into the working copy of an API", Args: cobra.ExactArgs(2)}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.ValidArgsFunction = completeRevisions(e, f)
	c.RunE = func(c *cobra.Command, args []string) error {
		r := dry(call{method: http.MethodPost, path: apiPath(args[0], "revisions", args[1], "restore")}, *dryRun)
		return ask(c, e, f, r, changed("restored from revision "+args[1], args[0]))
	}
	return c
}

// deployments says which edge group serves which revision.
type deployments struct {
	Groups map[string]int `json:"groups"`
}

// newDeploy makes edge groups serve a revision.
func newDeploy(e env) *cobra.Command {
	var n int
	var groups []string
	c := &cobra.Command{Use: "deploy ID", Short: "Make edge groups serve a revision of an API; without flags, show who serves what", Args: cobra.ExactArgs(1),
		Example: "  sluice deploy market@1.0.0 --revision 7 --group eu"}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.Flags().IntVar(&n, "revision", 0, "number of the revision")
	c.Flags().StringSliceVar(&groups, "group", []string{"default"}, "edge groups")
	c.RunE = func(c *cobra.Command, args []string) error {
		if n == 0 {
			return ask(c, e, f, call{method: http.MethodGet, path: apiPath(args[0], "deployments")}, deploymentTable)
		}
		return changeGroups(c, e, f, args[0], *dryRun, "deployed", func(now map[string]int) {
			for _, g := range groups {
				now[g] = n
			}
		})
	}
	return c
}

func deploymentTable(w io.Writer, a answer) error {
	var d deployments
	if err := a.into(&d); err != nil {
		return err
	}
	t := columns(w, "GROUP", "REVISION")
	for _, g := range sortedKeys(d.Groups) {
		row(t, g, strconv.Itoa(d.Groups[g]))
	}
	return t.Flush()
}

// newUndeploy makes edge groups serve an API no longer.
func newUndeploy(e env) *cobra.Command {
	var groups []string
	c := &cobra.Command{Use: "undeploy ID", Short: "Make edge groups serve an API no longer", Args: cobra.ExactArgs(1)}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.Flags().StringSliceVar(&groups, "group", []string{"default"}, "edge groups")
	c.RunE = func(c *cobra.Command, args []string) error {
		return changeGroups(c, e, f, args[0], *dryRun, "undeployed", func(now map[string]int) {
			for _, g := range groups {
				delete(now, g)
			}
		})
	}
	return c
}

// changeGroups reads who serves what, changes it and writes it back if nobody else did meanwhile.
func changeGroups(c *cobra.Command, e env, f *serverFlags, id string, how writeFlags, done string, edit func(map[string]int)) error {
	cl, err := f.client(e)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(c.Context(), e)
	defer stop()
	a, err := cl.regroup(ctx, id, how, edit)
	if err != nil {
		return err
	}
	return withCode(exitFailed, f.show(e.stdout, a, changed(done, id)))
}

func (c *remote) regroup(ctx context.Context, id string, how writeFlags, edit func(map[string]int)) (answer, error) {
	a, err := c.do(ctx, call{method: http.MethodGet, path: apiPath(id, "deployments")})
	if err != nil {
		return a, err
	}
	var d deployments
	if err := a.into(&d); err != nil {
		return a, withCode(exitFailed, err)
	}
	if d.Groups == nil {
		d.Groups = map[string]int{}
	}
	edit(d.Groups)
	body, err := json.Marshal(d)
	if err != nil {
		return a, withCode(exitFailed, err)
	}
	return c.do(ctx, dry(call{method: http.MethodPut, path: apiPath(id, "deployments"), body: body, ifMatch: a.etag}, how))
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
