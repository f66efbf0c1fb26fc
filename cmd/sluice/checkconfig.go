package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sluice/config/catalog"
	"sluice/internal/obs"
)

// newCheckConfig fits systemd's ExecStartPre: exit 0 if serve would start with these settings and definitions, else 78.
func newCheckConfig(e env) *cobra.Command {
	c := &cobra.Command{
		Use:   "check-config [FILE]",
		Short: "Check the settings, the OTEL_ variables and the API definitions, print every mistake with its place",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			cfg, warnings, err := loadSettings(c, e, file)
			if err != nil {
				return err
			}
			if _, err := obs.ReadTraceEnv(e.lookup); err != nil {
				return withCode(exitInvalid, err)
			}
			for _, w := range warnings {
				fmt.Fprintf(e.stderr, "warning: %s\n", w)
			}
			if err := brokerConfig(cfg).CheckFiles(); err != nil {
				return withCode(exitInvalid, err)
			}
			apis := 0
			if cfg.Catalog.APIs != "" {
				store, err := catalog.OpenDir(cfg.Catalog.APIs, catalogOptions(cfg, newGuard(cfg)))
				if err != nil {
					return withCode(exitInvalid, err)
				}
				for _, w := range store.Snapshot().Warnings() {
					fmt.Fprintf(e.stderr, "warning: %s\n", w)
				}
				if err := checkDurability(cfg, store.Snapshot()); err != nil {
					return withCode(exitInvalid, err)
				}
				apis = len(store.Snapshot().APIs())
			}
			fmt.Fprintf(e.stdout, "ok: settings and %d API definitions are valid\n", apis)
			return nil
		},
	}
	addSettings(c)
	return c
}
