package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sluice/config"
)

func newGenConfig(e env) *cobra.Command {
	var file string
	var schema bool
	c := &cobra.Command{
		Use:   "gen-config",
		Short: "Print a settings file with every key, its default and what it is for",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text := config.Example()
			if schema {
				text = config.Schema()
			}
			if file == "" {
				_, err := e.stdout.Write(text)
				return withCode(exitFailed, err)
			}
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return withCode(exitFailed, fmt.Errorf("not written: %w", err))
			}
			_, err = f.Write(text)
			if err := f.Close(); err != nil {
				return withCode(exitFailed, err)
			}
			return withCode(exitFailed, err)
		},
	}
	c.Flags().StringVarP(&file, "output", "o", "", "write to a new file in place of standard output")
	c.Flags().BoolVar(&schema, "schema", false, "print the JSON schema, for editors")
	return c
}
