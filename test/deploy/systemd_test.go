package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/config"
	"sluice/test/gateway"
)

// units are the files of deploy/systemd with the role each runs; all roles if empty.
var units = map[string]string{"sluice": "", "sluice-edge": "edge", "sluice-ingest": "ingest", "sluice-control": "control"}

// TestUnits: systemd itself accepts the units and finds them closed, the program takes their command lines, and they stop no process
// before its drain is over.
func TestUnits(t *testing.T) {
	analyze := need(t, "systemd-analyze", "systemd")
	bin := gateway.Binary(t, true)
	for name, role := range units {
		t.Run(name, func(t *testing.T) {
			text := read(t, "deploy/systemd/"+name+".service")
			file := filepath.Join(t.TempDir(), name+".service")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "/usr/local/bin/sluice", bin)), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || strings.Contains(string(out), name+".service") {
				t.Errorf("verify: %v\n%s", err, out)
			}
			// 2.0 of 10 is what is left to a service that needs the network; systemd calls 10.0 unsafe.
			if out, err := exec.Command(analyze, "security", "--no-pager", "--offline=yes", "--threshold=20", file).CombinedOutput(); err != nil {
				t.Errorf("security: %v\n%s", err, tail(string(out), 3<<10))
			}
			for _, m := range regexp.MustCompile(`(?m)^Exec\w+=/usr/local/bin/sluice (.*)$`).FindAllStringSubmatch(text, -1) {
				args := strings.Fields(m[1])
				knowsFlags(t, bin, args)
				if got := strings.Join(args[1:], " "); got != strings.TrimSpace("--roles "+role) && !(role == "" && got == "") {
					t.Errorf("arguments %v of role %q", args, role)
				}
			}
			checkUnit(t, text, role)
		})
	}
}

// checkUnit compares a unit with the settings that it starts the program with.
func checkUnit(t *testing.T, text, role string) {
	t.Helper()
	var env []string
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(userSeed), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^Environment=(.*)$`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(m[1], "SLUICE_CONFIG=") {
			env = append(env, strings.NewReplacer("%d/broker", key, "%H", "host").Replace(m[1]))
		}
	}
	overrides := map[string]string{}
	if role != "" {
		env = append(env, "SLUICE_BROKER_URLS=nats://127.0.0.1:4222")
		overrides["roles"] = role
	}
	cfg, warnings, err := config.Load("", env, overrides)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		if strings.Contains(w.Message, "no setting") {
			t.Error(w)
		}
	}
	if want := "host-" + role; role != "" && cfg.Node != want {
		t.Errorf("node %s instead of %s", cfg.Node, want)
	}
	need := endGrace
	if cfg.Has(config.RoleEdge) {
		need += cfg.Edge.Drain.Delay + cfg.Fanout.Drain.Over
	}
	if got := seconds(t, text, `(?m)^TimeoutStopSec=(\d+)$`); got <= need {
		t.Errorf("TimeoutStopSec is %s, but the process may take %s", got, need)
	}
	if state := regexp.MustCompile(`(?m)^StateDirectory=(.*)$`).FindStringSubmatch(text); cfg.Data != "/var/lib/"+state[1] {
		t.Errorf("data in %s, StateDirectory %s", cfg.Data, state[1])
	}
	for _, line := range []string{"Type=notify", "Restart=on-failure", "RestartPreventExitStatus=78", "ExecReload=/bin/kill -HUP $MAINPID"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if n := seconds(t, text, `(?m)^LimitNOFILE=(\d+)$`); cfg.Has(config.RoleEdge) && n < 1048576*time.Second {
		t.Errorf("LimitNOFILE is too small for an edge")
	}
}

// seconds finds a number in a file, as seconds.
func seconds(t *testing.T, text, pattern string) time.Duration {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("nothing matches %s", pattern)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n) * time.Second
}
