package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/test/feed"
	"sluice/test/oracle"
)

// TestOwnListenerIsNoUpstream gives the gateway itself as an endpoint: each event would come back as a new one. check-config
// and serve say where, a reload keeps what was good, and a redirect there is not followed.
func TestOwnListenerIsNoUpstream(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 100}, gatewayOptions{}, oracle.Run{}, ticksTopic)
	l.readMany("/ticks", 1, nil)
	good := fmt.Sprintf(definition, l.addr) + ticksTopic
	_, edgePort, _ := strings.Cut(l.gate.addrs["edge-http"], ":")
	const want = "market.yaml:7:13: /spec/endpoint: belongs to a listener of this process"
	for i, own := range []string{l.gate.addrs["edge-http"], l.gate.addrs["ops"], "localhost:" + edgePort, "0.0.0.0:" + edgePort} {
		bad := fmt.Sprintf(definition, own) + ticksTopic
		l.define(bad)
		refused := func(e entry) bool { return e.is("level", "ERROR") && strings.Contains(fmt.Sprint(e["error"]), want) }
		l.gate.waitLog("the refusal of "+own, func(entry) bool { return l.gate.logged(refused) > i })

		other := newGateway(t, gatewayOptions{apis: map[string]string{"market.yaml": bad}})
		other.addrs = l.gate.addrs
		out, err := exec.CommandContext(t.Context(), other.path, "check-config", filepath.Join(other.dir, "sluice.yaml"), "--apis",
			filepath.Join(other.dir, "apis"), "--http", other.addrs["edge-http"], "--ops", other.addrs["ops"]).CombinedOutput()
		if code := exitCode(err); code != 78 || !strings.Contains(string(out), want) {
			t.Errorf("check-config with endpoint %s: exit code %d, %s", own, code, out)
		}
		other.spawn()
		if code := other.wait(); code != 78 || other.logged(func(e entry) bool { return strings.Contains(fmt.Sprint(e["text"]), want) }) != 1 {
			t.Errorf("serve with endpoint %s: exit code %d", own, code)
			other.dumpLog()
		}
	}
	l.define(good)
	l.gate.waitLog("the good definition", func(e entry) bool { return e.is("msg", "definitions reloaded") })

	f := feed.Fault{Kind: feed.Redirect, Text: l.gate.url(ticksPath), Times: -1}
	l.Inject(f)
	l.gate.waitFeed("/ticks", "blocked", func(s feedStatus, _ bool) bool {
		return s.State == "blocked" && strings.Contains(s.Why, "own listener")
	})
	l.Clear()
	l.gate.waitFeed("/ticks", "up again", func(s feedStatus, _ bool) bool { return s.State == "up" })
	l.awaitAll(l.Stats("/ticks").Head + 10)
	if v := l.judge(); v.Gaps.Told != 0 || v.Resumes != 0 {
		t.Errorf("%d gaps, %d resumes", v.Gaps.Told, v.Resumes)
	}
}

// exitCode is that of a command that ended by itself, -1 if it did not.
func exitCode(err error) int {
	switch err := err.(type) {
	case nil:
		return 0
	case *exec.ExitError:
		return err.ExitCode()
	}
	return -1
}
