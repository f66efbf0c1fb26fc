package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sluice/config"
)

// settingFlags are the flags that set a key of the configuration, by key. They win over the environment and the file.
var settingFlags = []struct{ flag, key, usage string }{
	{"apis", "catalog.apis", "folder of API definition files, read again on SIGHUP"},
	{"data", "data", "folder for everything that is stored"},
	{"roles", "roles", "comma list of edge, ingest, control"},
	{"http", "edge.http.addr", "host:port of the plaintext edge listener, '' = none"},
	{"https", "edge.https.addr", "host:port of the TLS edge listener, '' = none"},
	{"control", "control.addr", "host:port of the management listener, '' = none"},
	{"ops", "ops.addr", "host:port of health, metrics and profiles, '' = none"},
	{"log-level", "log.level", "debug, info, warn or error"},
	{"log-format", "log.format", "auto, text or json"},
}

// addSettings adds the flags of the configuration to c.
func addSettings(c *cobra.Command) {
	c.Flags().String("config", "", "settings file; SLUICE_CONFIG is used if set, else ./sluice.yaml if it exists")
	for _, f := range settingFlags {
		c.Flags().String(f.flag, "", fmt.Sprintf("%s (%s, %s)", f.usage, f.key, config.EnvName(f.key)))
	}
	c.Flags().Bool("dev-tls", false, "serve https with a self-signed certificate for localhost (edge.https.devTLS)")
}

// loadSettings reads the configuration as the flags of c say: flags > environment > file > defaults.
func loadSettings(c *cobra.Command, e env, file string) (config.Config, []config.Warning, error) {
	if file == "" {
		file, _ = c.Flags().GetString("config")
	}
	if file == "" {
		file, _ = e.lookup("SLUICE_CONFIG")
	}
	if file == "" {
		if _, err := os.Stat("sluice.yaml"); err == nil {
			file = "sluice.yaml"
		}
	}
	overrides := map[string]string{}
	for _, f := range settingFlags {
		if fl := c.Flags().Lookup(f.flag); fl != nil && fl.Changed {
			overrides[f.key] = fl.Value.String()
		}
	}
	if fl := c.Flags().Lookup("dev-tls"); fl != nil && fl.Changed {
		overrides["edge.https.devTLS"] = fl.Value.String()
	}
	cfg, warnings, err := config.Load(file, e.environ, overrides)
	return cfg, warnings, withCode(exitInvalid, err)
}
