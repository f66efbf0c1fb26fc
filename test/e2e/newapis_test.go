package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
)

// TestNewDefinitionsHaveTheirStreams adds APIs by reload: no feed may be opened before there is a place for its events, which
// it would complain of.
func TestNewDefinitionsHaveTheirStreams(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 100}, gateway.Options{}, oracle.Run{}, ticksTopic)
	first := fmt.Sprintf(definition, l.addr) + ticksTopic
	const apis = 8
	for i := range apis {
		name := fmt.Sprint("new", i)
		text := strings.NewReplacer("name: market", "name: "+name, "context: /market", "context: /"+name,
			"/stream/ticks", "/stream/any/"+name).Replace(first)
		l.gate.Write(filepath.Join("apis", name+".yaml"), text)
		l.gate.Signal(syscall.SIGHUP)
		l.wait("/any/"+name, "read by the new API", func(s feed.Stats) bool { return s.Open == 1 })
	}
	if n := l.gate.Logged(func(e gateway.Entry) bool { return e.Is("level", "WARN") || e.Is("level", "ERROR") }); n != 0 {
		l.gate.DumpLog()
		t.Errorf("%d complaints", n)
	}
}
