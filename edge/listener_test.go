package edge

import (
	"strings"
	"testing"
)

func TestListenRefusesOtherNetworks(t *testing.T) {
	for _, network := range []string{"unix", "udp", ""} {
		if l, err := Listen(t.Context(), network, "127.0.0.1:0"); err == nil {
			l.Close()
			t.Errorf("network %q was accepted", network)
		}
	}
	_, err := Listen(t.Context(), "tcp", "127.0.0.1:99999")
	if err == nil || !strings.Contains(err.Error(), "listen tcp 127.0.0.1:99999: ") {
		t.Errorf("error = %v, want it to name network and address", err)
	}
}
