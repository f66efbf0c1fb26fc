package brokertest

import (
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"sluice/internal/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The real broker keeps the promises in every profile that one node can have.
func TestConformance(t *testing.T) {
	for _, p := range []string{broker.ProfileMemory, broker.ProfileProcess, broker.ProfilePower} {
		t.Run(p, func(t *testing.T) {
			Conformance(t, func(t *testing.T) Broker { return Start(t, Profile(p)) })
		})
	}
}

// So does the stand-in, in bubbles, where everything but time is the same.
func TestMemoryInBubbles(t *testing.T) {
	conformance(t, func(t *testing.T) Broker { return NewMemory(t) }, func(t *testing.T, f func(*testing.T)) {
		synctest.Test(t, f)
	})
}

// And outside of them.
func TestMemoryConformance(t *testing.T) {
	Conformance(t, func(t *testing.T) Broker { return NewMemory(t) })
}
