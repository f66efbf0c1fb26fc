package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"sluice/internal/version"
)

func newVersion(e env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print which build this is; list, copy and choose versions of APIs",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := version.Read()
			if asJSON {
				enc := json.NewEncoder(e.stdout)
				enc.SetIndent("", "  ")
				return withCode(exitFailed, enc.Encode(b))
			}
			_, err := fmt.Fprintf(e.stdout, "sluice %s %s %s\n", b.Version, b.Commit, b.Go)
			return withCode(exitFailed, err)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(newVersionList(e), newVersionCopy(e), newVersionDefault(e))
	return c
}
