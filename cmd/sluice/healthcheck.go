package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// newHealthcheck probes an ops listener: for images that have no shell and no curl.
func newHealthcheck(e env) *cobra.Command {
	var addr, path string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running sluice whether it is ready (exit 0) or not (exit 1)",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if v, ok := e.lookup("SLUICE_OPS_ADDR"); ok && !c.Flags().Changed("ops") {
				addr = v
			}
			text, err := probe(c.Context(), addr, path, timeout)
			fmt.Fprint(e.stdout, text)
			return withCode(exitFailed, err)
		},
	}
	c.Flags().StringVar(&addr, "ops", "127.0.0.1:9090", "host:port of the ops listener; SLUICE_OPS_ADDR is used if set")
	c.Flags().StringVar(&path, "path", "/readyz?verbose", "what to ask: /readyz or /livez")
	c.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for an answer")
	return c
}

// probe asks once and returns the body; an answer other than 2xx is an error.
func probe(ctx context.Context, addr, path string, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if strings.HasPrefix(addr, ":") {
		addr = "127.0.0.1" + addr
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", err
	}
	if resp.StatusCode/100 != 2 {
		return string(body), fmt.Errorf("%s%s answered %s", addr, path, resp.Status)
	}
	return string(body), nil
}
