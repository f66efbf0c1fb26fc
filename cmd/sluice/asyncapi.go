package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sluice/config"
	"sluice/config/asyncapi"
	"sluice/config/catalog"
	"sluice/internal/doc"
	"sluice/internal/outbound"
)

// newAsyncAPI works on files, and on the APIs of a server.
func newAsyncAPI(e env) *cobra.Command {
	c := &cobra.Command{
		Use:   "asyncapi",
		Short: "Check AsyncAPI documents, make them of API definitions, make definitions of them",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAsyncAPIValidate(e), newAsyncAPIExport(e), newAsyncAPIImport(e), newAsyncAPIUpdate(e))
	return c
}

func newAsyncAPIValidate(e env) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE|URL...",
		Short: "Print everything that is wrong with AsyncAPI documents 2.0 to 3.1, each with its place; ends with 1 if there is any",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			wrong := 0
			for _, name := range args {
				data, err := readDocument(c.Context(), name)
				if err != nil {
					return withCode(exitFailed, err)
				}
				report := asyncapi.Check(name, data)
				printReport(e, name, report)
				if report.Failed() {
					wrong++
					continue
				}
				fmt.Fprintf(e.stdout, "%s: ok\n", name)
			}
			if wrong > 0 {
				return withCode(exitFailed, fmt.Errorf("%d of %d documents are not valid", wrong, len(args)))
			}
			return nil
		},
	}
}

func newAsyncAPIExport(e env) *cobra.Command {
	var o asyncapi.ExportOptions
	var server *serverFlags
	var profile, id, output string
	var servers []string
	c := &cobra.Command{
		Use:   "export ID|FILE",
		Short: "Print the AsyncAPI document of an API on the server, or of a definition file",
		Example: "  sluice asyncapi export market@1.0.0 > market.asyncapi.yaml\n" +
			"  sluice asyncapi export apis/market.yaml --server-url https://edge.example.com\n" +
			"  sluice asyncapi export apis/market.yaml --profile internal --asyncapi 2.6.0 -o json",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if onServer(args[0]) {
				return exportAsyncAPI(c, e, server, args[0], o.Version, profile, output)
			}
			api, err := readAPI(args[0], id)
			if err != nil {
				return err
			}
			o.Profile = asyncapi.Profile(profile)
			for _, s := range servers {
				o.Servers = append(o.Servers, asyncapi.Server{URL: s})
			}
			d, err := asyncapi.Export(api, o)
			if err != nil {
				return withCode(exitUsage, err)
			}
			printReport(e, args[0], d.Warnings)
			return printDocument(e, output, d.JSON, d.YAML)
		},
	}
	server = addServer(c)
	c.ValidArgsFunction = idsOrFiles(e, server)
	f := c.Flags()
	f.StringVar(&id, "api", "", "`NAME@VERSION`, if the file defines several APIs")
	f.StringVar(&o.Version, "asyncapi", "", "`VERSION` of AsyncAPI: 3.1.0 (default) or 2.6.0; for wso2 2.6.0 (default) or 3.0.0")
	f.StringVar(&profile, "profile", "public", "public, internal (all that import needs to make the same API again) or wso2")
	f.StringArrayVar(&servers, "server-url", nil, "public `URL` of the edges, http or https; repeatable")
	f.StringVar(&o.TokenURL, "token-url", "", "`URL` where clients get tokens")
	f.BoolVar(&o.Endpoint, "endpoint", false, "name the backend too (internal only)")
	f.StringVarP(&output, "output", "o", "yaml", "yaml or json")
	return c
}

func newAsyncAPIImport(e env) *cobra.Command {
	var o asyncapi.ImportOptions
	var server *serverFlags
	var dryRun *writeFlags
	var local bool
	var version, base, output string
	c := &cobra.Command{
		Use:   "import FILE|URL",
		Short: "Create an API from an AsyncAPI document, and tell what could not be taken over",
		Long:  "import sends a file to the server, or has the server fetch a URL. --local makes the definition here and prints it.",
		Example: "  sluice asyncapi import stocks.yaml --endpoint http://127.0.0.1:8090\n" +
			"  sluice asyncapi import market.yaml --local --base apis/market.yaml",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !local {
				if base != "" {
					return withCode(exitUsage, errors.New("--base is for --local; 'asyncapi update' changes an API of the server"))
				}
				query := importMode(o.Lenient)
				for key, value := range map[string]string{"name": o.Name, "context": o.Context, "version": version, "endpoint": o.Endpoint, "server": o.Server} {
					if value != "" {
						query.Set(key, value)
					}
				}
				server.output = cmp.Or(output, "table")
				return importAsyncAPI(c, e, server, args[0], query, *dryRun)
			}
			output = cmp.Or(output, "yaml")
			data, err := readDocument(c.Context(), args[0])
			if err != nil {
				return withCode(exitFailed, err)
			}
			if base != "" {
				if o.Base, err = readAPI(base, ""); err != nil {
					return err
				}
			}
			o.File = args[0]
			api, report := asyncapi.Import(data, o)
			printReport(e, args[0], report)
			if api == nil {
				return withCode(exitFailed, fmt.Errorf("%s was not imported", args[0]))
			}
			tree, err := api.Definition()
			if err != nil {
				return withCode(exitFailed, err)
			}
			return printDocument(e, output, func() ([]byte, error) { return doc.WriteJSON(tree) }, func() ([]byte, error) { return doc.WriteYAML(tree) })
		},
	}
	server, dryRun = addServer(c), addDryRun(c)
	f := c.Flags()
	f.BoolVar(&local, "local", false, "print the definition instead of sending the document; the report goes to standard error")
	f.StringVar(&version, "version", "", "`VERSION` of the API. Default: the document's")
	f.StringVar(&o.Name, "name", "", "`NAME` of the API. Default: as the document says, else made of its title")
	f.StringVar(&o.Context, "context", "", "`PATH` of the API. Default: as the document says, else its name")
	f.StringVar(&o.Endpoint, "endpoint", "", "`URL` of the backend. Default: the document's server")
	f.StringVar(&o.Server, "from-server", "", "`NAME` of the server that is the backend. Default: the first of protocol sse, else http(s)")
	f.BoolVar(&o.Lenient, "lenient", false, "leave out, with a warning, what would refuse the document: channels that clients only publish to")
	f.StringVar(&base, "base", "", "definition `FILE` that the document updates: what a document cannot hold stays")
	f.StringVarP(&output, "output", "o", "", "table, json, yaml or name; with --local yaml or json")
	return c
}

// readDocument reads a file, or fetches a document from a public address.
func readDocument(ctx context.Context, name string) ([]byte, error) {
	if !strings.HasPrefix(name, "http://") && !strings.HasPrefix(name, "https://") {
		return os.ReadFile(name)
	}
	data, err := outbound.Fetch(ctx, outbound.NewGuard(config.Default().Upstream.AllowCIDRs), name, 4<<20)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", name, err)
	}
	return data, nil
}

// readAPI reads one API out of a definition file.
func readAPI(file, id string) (*catalog.API, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, withCode(exitFailed, err)
	}
	apis, _, err := catalog.ReadSource(catalog.Source{Name: file, Data: data}, catalog.Options{})
	if err != nil {
		return nil, withCode(exitInvalid, err)
	}
	var ids []string
	for _, a := range apis {
		if a.ID() == id || id == "" && len(apis) == 1 {
			return a, nil
		}
		ids = append(ids, a.ID())
	}
	return nil, withCode(exitUsage, fmt.Errorf("%s defines %s: name one with --api", file, strings.Join(ids, ", ")))
}

func printReport(e env, file string, report asyncapi.Report) {
	for _, f := range report {
		sep := ": "
		if f.Line > 0 {
			sep = ":"
		}
		fmt.Fprintln(e.stderr, file+sep+f.String())
	}
}

func printDocument(e env, format string, asJSON, asYAML func() ([]byte, error)) error {
	write := map[string]func() ([]byte, error){"json": asJSON, "yaml": asYAML}[format]
	if write == nil {
		return withCode(exitUsage, fmt.Errorf("--output %q: want yaml or json", format))
	}
	text, err := write()
	if err == nil {
		_, err = e.stdout.Write(text)
	}
	return withCode(exitFailed, err)
}
