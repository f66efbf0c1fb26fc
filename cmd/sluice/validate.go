package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/doc"
)

// newValidate checks definitions without a server.
func newValidate(e env) *cobra.Command {
	var files []string
	c := &cobra.Command{
		Use:   "validate -f FILE|FOLDER|-",
		Short: "Print everything that is wrong with definitions, each with its place, without a server; ends with 78 if there is anything",
		Long: "validate checks definitions by themselves and against each other. What else the catalog holds, and which backends it may reach,\n" +
			"only a server knows: 'sluice apply --dry-run' asks it.",
		Example: "  sluice validate -f apis/\n  sluice asyncapi import stocks.yaml --local | sluice validate -f -",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringArrayVarP(&files, "file", "f", nil, "definition file, folder of them, or - for standard input (repeatable)")
	_ = c.MarkFlagRequired("file")
	c.RunE = func(*cobra.Command, []string) error {
		var sources []catalog.Source
		for _, name := range files {
			list, err := definitionFiles(name)
			if err != nil {
				return withCode(exitUsage, err)
			}
			for _, f := range list {
				text, err := readLimited(e, f)
				if err != nil {
					return withCode(exitUsage, err)
				}
				sources = append(sources, catalog.Source{Name: f, Data: text})
			}
		}
		store, err := catalog.NewStatic(catalog.OptionsFrom(config.Default()), sources...)
		if err != nil {
			return withCode(exitInvalid, err)
		}
		snap := store.Snapshot()
		if len(snap.APIs()) == 0 {
			return withCode(exitUsage, errors.New("no definitions found"))
		}
		for _, w := range snap.Warnings() {
			if w.Pointer != "/spec/state" { // a catalog has definitions that are not served
				fmt.Fprintf(e.stderr, "warning: %s\n", w)
			}
		}
		_, err = fmt.Fprintf(e.stdout, "ok: %s\n", counted(len(snap.APIs()), "definition"))
		return withCode(exitFailed, err)
	}
	return c
}

// counted is a number with what is counted.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// schemas are the JSON schemas that the program can print, by kind.
var schemas = map[string]func() []byte{catalog.KindAPI: catalog.Schema, "settings": config.Schema}

// newSchema prints JSON schemas.
func newSchema(e env) *cobra.Command {
	return &cobra.Command{
		Use:       "schema KIND",
		Short:     "Print the JSON schema of a kind of definition, for editors: API, or settings",
		Example:   "  sluice schema API > api.schema.json",
		Args:      cobra.ExactArgs(1),
		ValidArgs: sortedKeys(schemas),
		RunE: func(_ *cobra.Command, args []string) error {
			schema, known := schemas[args[0]]
			if !known {
				err := fmt.Errorf("there is no kind %q; known: %v", args[0], sortedKeys(schemas))
				if near := doc.Nearest(args[0], sortedKeys(schemas)); near != "" {
					err = fmt.Errorf("there is no kind %q; did you mean %q?", args[0], near)
				}
				return withCode(exitUsage, err)
			}
			_, err := e.stdout.Write(schema())
			return withCode(exitFailed, err)
		},
	}
}
