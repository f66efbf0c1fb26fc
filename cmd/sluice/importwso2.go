package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"sluice/config/wso2"
)

// newImport imports what other gateways export.
func newImport(e env) *cobra.Command {
	c := &cobra.Command{Use: "import", Short: "Create an API from another gateway's project", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newImportWSO2(e))
	return c
}

func newImportWSO2(e env) *cobra.Command {
	c := &cobra.Command{
		Use:   "wso2 FOLDER|ZIP|FILE|-",
		Short: "Create an API from a WSO2 API Manager project of type SSE",
		Long: "wso2 takes a project of apictl, as a folder or a zip, its api.yaml alone, or the JSON of the publisher's REST API.\n" +
			"What means something else here is told. Passwords are not taken over: the report names the secrets to give instead.\n" +
			"--local makes the definition without a server.",
		Example: "  sluice import wso2 Telemetry-2.1.0.zip --dry-run\n  sluice import wso2 ./Telemetry-2.1.0 --local > telemetry.yaml",
		Args:    cobra.ExactArgs(1),
	}
	f := addOutput(c)
	dryRun := addDryRun(c)
	local := c.Flags().Bool("local", false, "print the definition instead of sending it; the report goes to standard error")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *local {
			p, err := openProject(e, args[0])
			if err != nil {
				return withCode(exitFailed, err)
			}
			return convertProject(e, p)
		}
		r, err := projectCall(e, args[0])
		if err != nil {
			return withCode(exitFailed, err)
		}
		return ask(c, e, f, dry(r, *dryRun), showImport(r.source))
	}
	return c
}

// openProject reads a project from wherever it is.
func openProject(e env, name string) (*wso2.Project, error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return wso2.ReadFolder(name)
	}
	data, err := readLimited(e, name)
	if err != nil {
		return nil, err
	}
	if wso2.IsZip(data) {
		return wso2.ReadZip(name, data)
	}
	return wso2.Single(name, data)
}

// convertProject prints the definition of a project, and its report for whoever watches.
func convertProject(e env, p *wso2.Project) error {
	in, err := wso2.Read(p, wso2.Options{})
	if err != nil {
		return withCode(exitFailed, err)
	}
	for _, f := range in.Report {
		fmt.Fprintf(e.stderr, "%s: %s\n", f.Level, shown(f.String()))
	}
	tree, err := in.API.Definition()
	if err != nil {
		return withCode(exitFailed, err)
	}
	return withCode(exitFailed, writeNode(e.stdout, tree, "yaml"))
}

// projectCall is the request that imports a project: a folder goes as the zip of its files that are read.
func projectCall(e env, name string) (call, error) {
	r := call{method: http.MethodPost, path: "/import/wso2"}
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		p, err := wso2.ReadFolder(name)
		if err != nil {
			return r, err
		}
		r.body, err = p.Zip("project")
		r.contentType = "application/zip"
		return r, err
	}
	if err := r.attach(e, name); err != nil {
		return r, err
	}
	if wso2.IsZip(r.body) {
		r.contentType, r.source = "application/zip", ""
	}
	return r, nil
}

// newExport writes APIs as definitions or WSO2 projects.
func newExport(e env) *cobra.Command {
	var format, out, label, kinds string
	var all bool
	c := &cobra.Command{Use: "export ID", Short: "Write an API as a definition that apply takes, or as a WSO2 project; or all APIs",
		Example: "  sluice export --all > all.yaml\n  sluice export Telemetry@2.1.0 --format wso2 --to Telemetry-2.1.0.zip", Args: cobra.MaximumNArgs(1)}
	f := addServer(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.Flags().StringVar(&format, "format", "sluice", "sluice (YAML) or wso2 (a zip)")
	c.Flags().StringVar(&out, "to", "", "file to write; default standard output")
	c.Flags().BoolVar(&all, "all", false, "all APIs, and what --kinds names")
	c.Flags().StringVar(&label, "label", "", "with --all: only those with this label, as key or key=value")
	c.Flags().StringVar(&kinds, "kinds", "", "with --all: which kinds, of API, Plan, Application, Subscription with commas between; default API")
	c.RunE = func(c *cobra.Command, args []string) error {
		r := call{method: http.MethodGet, path: "/export", query: url.Values{}, accept: "application/yaml, application/zip"}
		switch {
		case all == (len(args) == 1):
			return withCode(exitUsage, fmt.Errorf("give an ID or --all"))
		case len(args) == 1:
			r.path = apiPath(args[0], "export")
			r.query.Set("format", format)
		default:
			for name, v := range map[string]string{"label": label, "kinds": kinds} {
				if v != "" {
					r.query.Set(name, v)
				}
			}
		}
		return ask(c, e, f, r, func(w io.Writer, a answer) error {
			if out != "" {
				return os.WriteFile(out, a.body, 0o644)
			}
			return verbatim(w, a)
		})
	}
	return c
}
