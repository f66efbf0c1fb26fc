package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
)

// TestOwnListenerIsNoUpstream gives the gateway itself as an endpoint: each event would come back as a new one. check-config
// and serve say where, a reload keeps what was good, and a redirect there is not followed.
func TestOwnListenerIsNoUpstream(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 100}, gateway.Options{}, oracle.Run{}, ticksTopic)
	l.readMany("/ticks", 1, nil)
	good := fmt.Sprintf(definition, l.addr) + ticksTopic
	_, edgePort, _ := strings.Cut(l.gate.Addrs["edge-http"], ":")
	const want = "market.yaml:7:13: /spec/endpoint: belongs to a listener of this process"
	for i, own := range []string{l.gate.Addrs["edge-http"], l.gate.Addrs["ops"], "localhost:" + edgePort, "0.0.0.0:" + edgePort} {
		bad := fmt.Sprintf(definition, own) + ticksTopic
		l.define(bad)
		refused := func(e gateway.Entry) bool {
			return e.Is("level", "ERROR") && strings.Contains(fmt.Sprint(e["error"]), want)
		}
		l.gate.WaitLog("the refusal of "+own, func(gateway.Entry) bool { return l.gate.Logged(refused) > i })

		other := gateway.New(t, gateway.Options{APIs: map[string]string{"market.yaml": bad}})
		other.Addrs = l.gate.Addrs
		out, err := exec.CommandContext(t.Context(), other.Path, "check-config", filepath.Join(other.Dir, "sluice.yaml"), "--apis",
			filepath.Join(other.Dir, "apis"), "--http", other.Addrs["edge-http"], "--ops", other.Addrs["ops"]).CombinedOutput()
		if code := exitCode(err); code != 78 || !strings.Contains(string(out), want) {
			t.Errorf("check-config with endpoint %s: exit code %d, %s", own, code, out)
		}
		other.Spawn()
		if code := other.Wait(); code != 78 || other.Logged(func(e gateway.Entry) bool { return strings.Contains(fmt.Sprint(e["text"]), want) }) != 1 {
			t.Errorf("serve with endpoint %s: exit code %d", own, code)
			other.DumpLog()
		}
	}
	l.define(good)
	l.gate.WaitLog("the good definition", func(e gateway.Entry) bool { return e.Is("msg", "definitions reloaded") })

	f := feed.Fault{Kind: feed.Redirect, Text: l.gate.URL(ticksPath), Times: -1}
	l.Inject(f)
	l.gate.WaitFeed("/ticks", "blocked", func(s gateway.FeedStatus, _ bool) bool {
		return s.State == "blocked" && strings.Contains(s.Why, "own listener")
	})
	l.Clear()
	l.gate.WaitFeed("/ticks", "up again", func(s gateway.FeedStatus, _ bool) bool { return s.State == "up" })
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
