package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/doc"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Each testdata/bad_*.yaml holds one mistake and, in its first line, the message it must give.
func TestEachMistakeHasItsMessage(t *testing.T) {
	files, err := filepath.Glob("testdata/bad_*.yaml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			line, _, _ := strings.Cut(string(text), "\n")
			want := filepath.ToSlash(file) + ":" + strings.TrimPrefix(strings.TrimSpace(line), "# want: ")
			c, _, err := Load(file, nil, nil)
			if err == nil {
				t.Fatal("loads")
			}
			if got := filepath.ToSlash(err.Error()); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if !reflect.ValueOf(c).IsZero() {
				t.Error("settings came with the error")
			}
		})
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	file := write(t, "roles: [boss]\nedge: {framing: both, htp: 1}\nfanout: {linger: soon, heartbeat: 1s}\n")
	_, _, err := Load(file, []string{"SLUICE_LOG_LEVEL=loud"}, map[string]string{"edge.joinRate": "x", "edge.nothing": "1"})
	want := strings.Join([]string{
		"SLUICE_LOG_LEVEL: /log/level: must be one of debug, info, warn, error",
		"edge.nothing: no setting has this name",
		"flag edge.joinRate: /edge/joinRate: \"x\" is not a whole number in range",
		file + ":1:9: /roles/0: must be one of edge, ingest, control",
		file + ":2:17: /edge/framing: must be one of identity, chunked",
		file + `:2:23: /edge/htp: unknown key; did you mean "http"?`,
		file + ":3:18: /fanout/linger: \"soon\" is not a duration such as 250ms, 30s, 5m, 1h or 7d",
		file + ":3:35: /fanout/heartbeat: must be between 5s and 40s, not 1s",
	}, "\n")
	lines := strings.Split(err.Error(), "\n")
	slices.Sort(lines)
	if diff := cmp.Diff(slices.Sorted(strings.SplitSeq(want, "\n")), lines); diff != "" {
		t.Error(diff)
	}
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := write(t, "edge: {http: {addr: ':1001'}, joinRate: 1, perIP: {streams: 1}}\nlog: {level: error}\n")
	c, warnings, err := Load(file, []string{"PATH=/bin", "SLUICE_EDGE_JOIN_RATE=2", "SLUICE_EDGE_PERIP_STREAMS=2",
		"SLUICE_UPSTREAM_ALLOW_CIDRS=10.0.0.0/8, 192.168.1.1", "SLUICE_FANOUT_COALESCE_HTTP1=50ms", "SLUICE_ROLES=edge",
		"SLUICE_SECRET_TOKEN=x", "SLUICE_CONFIG=y"},
		map[string]string{"edge.perIP.streams": "3", "edge.https.devTLS": "true"})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Edge.HTTP.Addr, c.Edge.JoinRate, c.Edge.PerIP.Streams, c.Log.Level, c.Fanout.Coalesce.HTTP1, c.Roles,
		c.Edge.HTTPS.DevTLS, c.Fanout.Linger}
	want := []any{":1001", 2, 3, "error", 50 * time.Millisecond, []Role{RoleEdge}, true, 30 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p := c.Upstream.AllowCIDRs; len(p) != 2 || p[1] != netip.MustParsePrefix("192.168.1.1/32") {
		t.Errorf("allowCIDRs %v", p)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0].String(), "flag edge.https.devTLS: a self-signed") {
		t.Errorf("warnings %v", warnings)
	}
	if !c.Has(RoleEdge) || c.Has(RoleIngest) || !c.Edge.HTTPS.Enabled() {
		t.Error("Has or Enabled is wrong")
	}
}

func TestEnvironmentNames(t *testing.T) {
	seen := map[string]string{}
	for _, path := range Settings() {
		n := squash(EnvName(path))
		if seen[n] != "" {
			t.Errorf("%s and %s share %s", path, seen[n], n)
		}
		seen[n] = path
	}
	for path, want := range map[string]string{"edge.http.addr": "SLUICE_EDGE_HTTP_ADDR", "upstream.allowCIDRs": "SLUICE_UPSTREAM_ALLOW_CIDRS",
		"edge.perIP.streams": "SLUICE_EDGE_PER_IP_STREAMS", "edge.https.devTLS": "SLUICE_EDGE_HTTPS_DEV_TLS", "data": "SLUICE_DATA",
		"catalog.apis": "SLUICE_CATALOG_APIS"} {
		if got := EnvName(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	_, warnings, err := Load("", []string{"SLUICE_PORT=tcp://10.0.0.1:80", "SLUICE_EDGE_JOIN_RAT=3"}, nil)
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0].String(), `did you mean "SLUICE_EDGE_JOIN_RATE"?`) {
		t.Errorf("warnings %v, %v", warnings, err)
	}
	_, _, err = Load("", []string{"SLUICE_EDGE_JOIN_RATE=3", "SLUICE_EDGE_JOINRATE=4"}, nil)
	if err == nil || !strings.Contains(err.Error(), "SLUICE_EDGE_JOIN_RATE: sets the same as SLUICE_EDGE_JOINRATE") {
		t.Errorf("both spellings: %v", err)
	}
}

// Who may define an API must not read the internal network through it, except on a developer's own machine.
func TestPrivateUpstreamsAreAllowedByDefaultOnlyWithAnEmbeddedBroker(t *testing.T) {
	load := func(text string) []netip.Prefix {
		t.Helper()
		c, _, err := Load(write(t, text), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Upstream.AllowCIDRs
	}
	contains := func(list []netip.Prefix, addr string) bool {
		for _, p := range list {
			if p.Contains(netip.MustParseAddr(addr)) {
				return true
			}
		}
		return false
	}
	local := load("{}")
	for addr, want := range map[string]bool{"127.0.0.1": true, "10.9.9.9": true, "172.31.0.1": true, "192.168.0.1": true, "::1": true, "fd00::1": true,
		"169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "fe80::1": false} {
		if contains(local, addr) != want {
			t.Errorf("embedded: %s allowed is %v", addr, !want)
		}
	}
	if got := load("broker: {urls: ['nats://n1:4222']}"); len(got) != 0 {
		t.Errorf("cluster: %v", got)
	}
	if got := load("upstream: {allowCIDRs: []}"); len(got) != 0 {
		t.Errorf("empty list: %v", got)
	}
	if got := load("broker: {urls: ['nats://n1:4222']}\nupstream: {allowCIDRs: [127.0.0.1]}"); len(got) != 1 {
		t.Errorf("listed: %v", got)
	}
	if got := Default().Upstream.AllowCIDRs; !cmp.Equal(local, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
		t.Errorf("Default differs from Load: %v", got)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	_, _, err := Load(filepath.Join(dir, "none.yaml"), nil, nil)
	if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, "none.yaml")+": ") {
		t.Errorf("missing: %v", err)
	}
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, make([]byte, maxFileBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = Load(big, nil, nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("big: %v", err)
	}
	js := filepath.Join(dir, "a.json")
	if err := os.WriteFile(js, []byte(`{"edge":{"http":{"addr":":5"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, _, err := Load(js, nil, nil); err != nil || c.Edge.HTTP.Addr != ":5" {
		t.Errorf("json: %v", err)
	}
	empty := filepath.Join(dir, "empty.yaml")
	if err := os.WriteFile(empty, []byte("# nothing yet\nedge:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(empty, nil, nil)
	a, _ := doc.Marshal(c)
	b, _ := doc.Marshal(Default())
	if err != nil || string(a) != string(b) {
		t.Errorf("empty: %v", err)
	}
}

func TestCertificateIsCheckedAndItsKeyGuarded(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key)
	over := map[string]string{"edge.https.cert": cert, "edge.https.key": key}
	if _, warnings, err := Load("", nil, over); err != nil || len(warnings) != 0 {
		t.Errorf("good pair: %v, %v", warnings, err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	_, warnings, err := Load("", nil, over)
	if err != nil || runtime.GOOS != "windows" && (len(warnings) != 1 || !strings.Contains(warnings[0].String(), "can be read by every user")) {
		t.Errorf("open key: %v, %v", warnings, err)
	}
	writePair(t, cert, filepath.Join(dir, "other.pem"))
	if _, _, err := Load("", nil, over); err == nil || !strings.HasPrefix(err.Error(), "flag edge.https.cert: /edge/https/cert: cannot be used with edge.https.key: ") {
		t.Errorf("wrong pair: %v", err)
	}
}

func writePair(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWarnings(t *testing.T) {
	_, warnings, err := Load(write(t, "upstream: {allowCIDRs: [0.0.0.0/0]}\nbroker: {urls: ['nats://n:4222'], user: u, password: hush}\n"), nil, nil)
	if err != nil || len(warnings) != 3 {
		t.Fatalf("%v, %v", warnings, err)
	}
	for _, w := range warnings {
		if strings.Contains(w.String(), "hush") || !strings.HasPrefix(w.Message, "process rests on") && !strings.Contains(w.Where, "sluice.yaml:") {
			t.Errorf("warning %q", w)
		}
	}
}

func TestValidateOfAConfigMadeInGo(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	c := Default()
	c.Fanout.Heartbeat = time.Minute
	c.Edge.Hosts = []string{"ok.example.com", "*.example.com", "127.0.0.1", "bad host"}
	want := "/edge/hosts/3: must be a host name without scheme, port or path, such as api.example.com or *.example.com\n" +
		"/fanout/heartbeat: must be between 5s and 40s, not 1m"
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if err := (Config{}).Validate(); err == nil {
		t.Error("the zero Config is valid")
	}
}

// Every setting must be reachable from the environment, must have a default that is itself valid there, and must be described.
func TestEverySettingCanBeSetFromItsOwnDefault(t *testing.T) {
	for _, s := range settings() {
		c := Default()
		text := textOf(s.in(&c))
		if s.path == "edge.https.devTLS" || strings.HasPrefix(s.path, "broker.") && text == "" {
			continue
		}
		got, _, err := Load("", []string{s.env() + "=" + text}, nil)
		if err != nil {
			t.Errorf("%s=%s: %v", s.env(), text, err)
			continue
		}
		if a, b := textOf(s.in(&got)), text; a != b {
			t.Errorf("%s: %q became %q", s.path, b, a)
		}
	}
}

// textOf writes a setting as SetText reads it.
func textOf(v reflect.Value) string {
	text, err := doc.Marshal(v.Interface())
	if err != nil {
		panic(err)
	}
	return strings.NewReplacer(`"`, "", "[", "", "]", "").Replace(string(text))
}

// FuzzConfig: no file makes Load panic; what it takes is valid, and loading it again written out gives the same.
func FuzzConfig(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad_*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "1", "edge.joinRate")
	}
	f.Add([]byte("edge: {http: {addr: ':1'}}"), "10.0.0.0/8,::1", "upstream.allowCIDRs")
	f.Fuzz(func(t *testing.T, text []byte, value, path string) {
		// The certificate check reads files that the text names: not here.
		if strings.Contains(string(text), "cert") || strings.Contains(path, "cert") {
			return
		}
		file := write(t, string(text))
		env := []string{EnvName(path) + "=" + value}
		c, _, err := Load(file, env, nil)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("loaded but not valid: %v", err)
		}
		written, err := doc.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again := filepath.Join(filepath.Dir(file), "again.json")
		if err := os.WriteFile(again, written, 0o600); err != nil {
			t.Fatal(err)
		}
		c2, _, err := Load(again, nil, nil)
		if err != nil {
			t.Fatalf("%s\nis not read back: %v", written, err)
		}
		if written2, _ := doc.Marshal(c2); string(written) != string(written2) {
			t.Fatalf("%s\nis read back as\n%s", written, written2)
		}
	})
}
