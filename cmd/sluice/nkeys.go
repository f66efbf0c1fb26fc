package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sluice/internal/broker"
)

// brokerUsers are the users of deploy/nats/users.conf, by the file of their seed.
var brokerUsers = []string{"edge", "ingest", "control", "core"}

// newNKeys makes the keys that deploy/nats wants: the NATS servers get the public halves, the gateways the seeds.
func newNKeys(e env) *cobra.Command {
	return &cobra.Command{
		Use:   "nkeys DIR",
		Short: "Make the keys with which the roles log in at NATS servers",
		Long: "nkeys writes DIR/<user>.nk, the secret seed of each user of deploy/nats/users.conf (edge, ingest, control, and core for control and\n" +
			"ingest in one process), for broker.credentials, and DIR/nats.env with the public halves, for the NATS servers' environment.\n" +
			"A seed that is there already stays as it is.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := writeKeys(args[0]); err != nil {
				return withCode(exitFailed, err)
			}
			fmt.Fprintf(e.stdout, "wrote %s and the seeds beside it\n", filepath.Join(args[0], "nats.env"))
			return nil
		},
	}
}

func writeKeys(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var lines strings.Builder
	for _, user := range brokerUsers {
		public, err := userKey(filepath.Join(dir, user+".nk"))
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "SLUICE_NKEY_%s=%s\n", strings.ToUpper(user), public)
	}
	return os.WriteFile(filepath.Join(dir, "nats.env"), []byte(lines.String()), 0o644)
}

// userKey returns the public half of the seed in file, which it makes if it is not there.
func userKey(file string) (string, error) {
	public, err := broker.PublicKey(file)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return public, err
	}
	seed, public, err := broker.NewUserKey()
	if err != nil {
		return "", err
	}
	return public, os.WriteFile(file, []byte(seed+"\n"), 0o600)
}
