// Package cluster runs NATS servers as processes of their own, with the files of deploy/nats, and the real program against
// them: what each role's user may do and may not, and that nothing is lost when servers die.
//
// Read internal/broker/brokertest/cluster.go (the servers), rig_test.go (keys, gateways and a market around them), then any
// test.
package cluster

import (
	"testing"

	"sluice/test/gateway"
)

func TestMain(m *testing.M) { gateway.Main(m, nil) }
