package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// newVersionCopy copies an API to a new version.
func newVersionCopy(e env) *cobra.Command {
	var version, comment string
	var byDefault bool
	c := &cobra.Command{Use: "copy ID --version VERSION", Short: "Copy an API to a new version, which begins as CREATED", Args: cobra.ExactArgs(1),
		Example: "  sluice version copy market@1.0.0 --version 2.0.0"}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.Flags().StringVar(&version, "version", "", "the new version")
	c.Flags().StringVar(&comment, "comment", "", "why, for the history")
	c.Flags().BoolVar(&byDefault, "default", false, "make it the default version")
	_ = c.MarkFlagRequired("version")
	c.RunE = func(c *cobra.Command, args []string) error {
		body, err := json.Marshal(struct {
			Version string `json:"version"`
			Default bool   `json:"default,omitempty"`
			Comment string `json:"comment,omitempty"`
		}{version, byDefault, comment})
		if err != nil {
			return withCode(exitFailed, err)
		}
		r := dry(call{method: http.MethodPost, path: apiPath(args[0], "versions"), body: body}, *dryRun)
		return ask(c, e, f, r, changed("copied to version "+version, args[0]))
	}
	return c
}

// newVersionList lists all versions of an API's name.
func newVersionList(e env) *cobra.Command {
	c := &cobra.Command{Use: "list ID", Short: "List all versions of an API's name", Args: cobra.ExactArgs(1)}
	f := addOutput(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		return ask(c, e, f, call{method: http.MethodGet, path: apiPath(args[0], "versions")}, apiTable)
	}
	return c
}

// newVersionDefault says which version answers without its version in the path.
func newVersionDefault(e env) *cobra.Command {
	var none, move bool
	c := &cobra.Command{Use: "default NAME [VERSION]", Short: "Say which version of a name answers without its version in the path; without VERSION, show it",
		Example: "  sluice version default market 2.0.0\n  sluice version default market --none", Args: cobra.RangeArgs(1, 2)}
	f := addOutput(c)
	c.Flags().BoolVar(&none, "none", false, "no version does")
	c.Flags().BoolVar(&move, "move-clients", false, "end the streams that came by the old default, so that they come back to the new one")
	how := addDryRun(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		path := "/families/" + url.PathEscape(args[0])
		if len(args) == 1 && !none {
			return ask(c, e, f, call{method: http.MethodGet, path: path}, familyLine)
		}
		if len(args) == 2 && none {
			return withCode(exitUsage, errors.New("VERSION and --none exclude each other"))
		}
		var version *string
		if !none {
			version = &args[1]
		}
		body, err := json.Marshal(struct {
			DefaultVersion *string `json:"defaultVersion"`
			MoveClients    bool    `json:"moveClients,omitempty"`
		}{version, move})
		if err != nil {
			return withCode(exitFailed, err)
		}
		show := familyLine
		if how.only {
			show = changed("changed", args[0])
		}
		return ask(c, e, f, dry(call{method: http.MethodPut, path: path, body: body, ifMatch: "*"}, *how), show)
	}
	return c
}

func familyLine(w io.Writer, a answer) error {
	var family struct {
		Name           string `json:"name"`
		DefaultVersion string `json:"defaultVersion"`
	}
	if err := a.into(&family); err != nil {
		return err
	}
	if family.DefaultVersion == "" {
		_, err := fmt.Fprintf(w, "%s has no default version\n", shown(family.Name))
		return err
	}
	_, err := fmt.Fprintf(w, "%s answers without a version as %s\n", shown(family.Name), shown(family.DefaultVersion))
	return err
}
