// Package e2e runs the real program: a market as upstream, the gateway as a process of its own with the embedded broker,
// and clients that come back with their last id. What a run proves is judged by test/oracle from what the clients received.
//
// Read test/gateway (the process), line_test.go (market, gateway, clients and judge together), then any test.
package e2e

import (
	"testing"

	"sluice/test/gateway"
)

func TestMain(m *testing.M) { gateway.Main(m, nil) }
