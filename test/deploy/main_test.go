// Package deploy proves what is in deploy/: that every query of alerts and dashboards asks for metrics that exist, that each
// alert fires when its condition holds and not before, and that a node with many APIs has few series. It runs the real
// program, and Debian's prometheus and promtool where they are installed.
//
// Read documented_test.go (the table of metrics that queries are checked against), then any test.
package deploy

import (
	"testing"

	"sluice/test/gateway"
)

func TestMain(m *testing.M) { gateway.Main(m, nil) }

// root is the repository.
const root = "../.."
