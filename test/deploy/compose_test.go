package deploy

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"sluice/config"
	"sluice/test/gateway"
)

// endGrace is what a process may take after its drain: cmd/sluice gives 15 s to the edge's rest and 15 s to the broker.
const endGrace = 30 * time.Second

// loadCompose parses docker-compose.yml as docker compose does, with all profiles. Empty keys stand where secrets.sh would put them.
func loadCompose(t *testing.T, env ...string) *types.Project {
	t.Helper()
	secrets := t.TempDir()
	for _, name := range []string{"edge.nk", "ingest.nk", "control.nk", "nats.env"} {
		if err := os.WriteFile(filepath.Join(secrets, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return loadComposeWith(t, secrets, env...)
}

// loadComposeWith is loadCompose with a folder of keys.
func loadComposeWith(t *testing.T, secrets string, env ...string) *types.Project {
	t.Helper()
	env = append(env, "SECRETS="+secrets)
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(dir, "docker-compose.yml")}, cli.WithWorkingDirectory(dir),
		cli.WithProfiles([]string{"*"}), cli.WithEnv(env))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestCompose checks what every service has, and that the topology is the one that is promised.
func TestCompose(t *testing.T) {
	project := loadCompose(t)
	want := []string{"bench", "control", "edge-1", "edge-2", "edge-3", "feed", "grafana", "ingest-1", "ingest-2", "lb", "nats-1", "nats-2", "nats-3",
		"prometheus", "redis"}
	if got := project.ServiceNames(); !slices.Equal(got, want) {
		t.Errorf("services %v instead of %v", got, want)
	}
	for name, s := range project.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: wants read_only, cap_drop ALL and no-new-privileges", name)
		}
		if s.StopGracePeriod == nil {
			t.Errorf("%s: no stop_grace_period", name)
		}
		if (s.HealthCheck == nil || s.HealthCheck.Disable) && name != "bench" {
			t.Errorf("%s: no health check", name)
		}
		for on, d := range s.DependsOn {
			if d.Condition != types.ServiceConditionHealthy {
				t.Errorf("%s: depends on %s %s", name, on, d.Condition)
			}
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s: mounts %s, read only %v: %v", name, v.Source, v.ReadOnly, err)
			}
		}
		profile := map[string]string{"prometheus": "observability", "grafana": "observability", "bench": "loadtest"}[name]
		if got := strings.Join(s.Profiles, ","); got != profile {
			t.Errorf("%s: profile %q instead of %q", name, got, profile)
		}
	}
}

// TestComposeImages: each image has a version, and can be another one by a variable of the environment.
func TestComposeImages(t *testing.T) {
	text := read(t, "docker-compose.yml")
	var env []string
	for _, m := range regexp.MustCompile(`\$\{([A-Z]+_IMAGE):-([^}]*)\}`).FindAllStringSubmatch(text, -1) {
		if tag := m[2][strings.LastIndexByte(m[2], '/')+1:]; m[2] != "scratch" && (!strings.Contains(tag, ":") || strings.Contains(tag, "latest")) {
			t.Errorf("%s is %s by default: no version", m[1], m[2])
		}
		env = append(env, m[1]+"=registry.example/"+strings.ToLower(m[1])+":1")
	}
	project := loadCompose(t, env...)
	for name, s := range project.Services {
		if !strings.HasPrefix(s.Image, "registry.example/") {
			t.Errorf("%s: image %s cannot be changed", name, s.Image)
		}
	}
	args := project.Services["control"].Build.Args
	for _, name := range []string{"GO_IMAGE", "BASE_IMAGE"} {
		if v := args[name]; v == nil || !strings.HasPrefix(*v, "registry.example/") {
			t.Errorf("the build's %s cannot be changed", name)
		}
	}
	module := read(t, "go.mod")
	server := regexp.MustCompile(`nats-server/v2 v(\S+)`).FindStringSubmatch(module)
	if got := loadCompose(t).Services["nats-1"].Image; got != "nats:"+server[1]+"-alpine" {
		t.Errorf("image %s, but go.mod has nats-server %s", got, server[1])
	}
	lang := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(module)
	for _, file := range []string{"docker-compose.yml", "Dockerfile"} {
		if !strings.Contains(read(t, file), "golang:"+lang[1]+"-") {
			t.Errorf("%s: GO_IMAGE is not of Go %s", file, lang[1])
		}
	}
}

// TestComposeRuns gives each sluice service's command line and settings to the real program.
func TestComposeRuns(t *testing.T) {
	project := loadCompose(t)
	bin := gateway.Binary(t, true)
	for name, s := range project.Services {
		if s.Image != "sluice:local" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			knowsFlags(t, bin, s.Command)
			if test := s.HealthCheck.Test; len(test) > 0 {
				if test[0] != "CMD" || test[1] != "/sluice" {
					t.Fatalf("health check %v", test)
				}
				knowsFlags(t, bin, test[2:])
			}
			if s.Command[0] == "serve" {
				checkNode(t, project, s, bin)
			}
		})
	}
}

// knowsFlags fails if the program does not take the arguments.
func knowsFlags(t *testing.T, bin string, args []string) {
	t.Helper()
	if out, err := exec.Command(bin, append(slices.Clone(args), "--help")...).CombinedOutput(); err != nil {
		t.Errorf("sluice %v: %v\n%s", args, err, out)
	}
}

// checkNode checks the settings of a service that serves: the program takes them, and the rest of the service fits.
func checkNode(t *testing.T, project *types.Project, s types.ServiceConfig, bin string) {
	t.Helper()
	env := localEnv(t, s)
	checkSettings(t, bin, env)
	cfg, _, err := config.Load("", env, nil)
	if err != nil {
		t.Fatal(err)
	}
	need := endGrace
	if cfg.Has(config.RoleEdge) {
		need += cfg.Edge.Drain.Delay + cfg.Fanout.Drain.Over
	}
	if got := time.Duration(*s.StopGracePeriod); got <= need {
		t.Errorf("stop_grace_period %s, but the process may take %s", got, need)
	}
	if !strings.HasPrefix(s.Name, string(cfg.Roles[0])) || len(cfg.Roles) != 1 || s.Hostname != s.Name {
		t.Errorf("roles %v, host name %s", cfg.Roles, s.Hostname)
	}
	if cfg.Broker.Durability != config.DurabilityCluster {
		t.Errorf("durability %s, though there are three servers", cfg.Broker.Durability)
	}
	for _, u := range cfg.Broker.URLs {
		host, port, _ := strings.Cut(strings.TrimPrefix(u, "nats://"), ":")
		if _, ok := project.Services[host]; !ok || port != "4222" {
			t.Errorf("broker %s is no service", u)
		}
	}
	if cfg.Has(config.RoleEdge) {
		subnet := project.Networks["front"].Ipam.Config[0].Subnet
		if got := cfg.Edge.TrustedProxies; len(got) != 1 || got[0].String() != subnet {
			t.Errorf("trusted proxies %v, but the balancer is in %s", got, subnet)
		}
	}
}

// localEnv is a service's environment with the container's files in the places they have here.
func localEnv(t *testing.T, s types.ServiceConfig) (env []string) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(userSeed), 0o600); err != nil {
		t.Fatal(err)
	}
	places := []string{}
	for _, secret := range s.Secrets {
		places = append(places, "/run/secrets/"+secret.Target, key)
	}
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeBind {
			places = append(places, v.Target, v.Source)
		}
	}
	for name, value := range s.Environment {
		if value != nil {
			env = append(env, name+"="+strings.NewReplacer(places...).Replace(*value))
		}
	}
	return env
}

// userSeed is the seed of a NATS user that exists nowhere.
const userSeed = "SUACHTSDW7LDSVYZ2YOY7AJE3QTLEXZRXVK3US2MU55K4KEG7BQWHJIIGA\n"

// checkSettings runs check-config with nothing but the given environment.
func checkSettings(t *testing.T, bin string, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"check-config"}, args...)...)
	cmd.Env, cmd.Dir = env, t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "no setting has this name") {
		t.Errorf("check-config %v: %v\n%s", args, err, out)
	}
}

// TestComposeNames: the files that name services of docker-compose.yml name those that exist, with the ports they listen on.
func TestComposeNames(t *testing.T) {
	project := loadCompose(t)
	var nodes, edges []string
	for name, s := range project.Services {
		cfg := settingsOf(t, s)
		if cfg == nil {
			continue
		}
		nodes = append(nodes, name+cfg.Ops.Addr)
		if cfg.Has(config.RoleEdge) {
			edges = append(edges, name+cfg.Edge.HTTP.Addr)
			if cfg.Edge.ReadyPath != "/_ready" {
				t.Errorf("%s: ready path %q", name, cfg.Edge.ReadyPath)
			}
		}
	}
	slices.Sort(nodes)
	slices.Sort(edges)
	scraped := regexp.MustCompile(`[a-z]+(-\d)?:9090`).FindAllString(read(t, "deploy/docker/prometheus.yml"), -1)
	slices.Sort(scraped)
	if !slices.Equal(scraped, nodes) {
		t.Errorf("Prometheus scrapes %v, the nodes are %v", scraped, nodes)
	}
	for _, file := range balancerFiles {
		named := regexp.MustCompile(`edge-\d\b[^-\n]*?\D?:? ?(?:port_value: )?:?(\d{4})`).FindAllString(read(t, file), -1)
		var got []string
		for _, n := range named {
			name, rest := n[:len("edge-1")], n[len(n)-4:]
			got = append(got, name+":"+rest)
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, edges) {
			t.Errorf("%s: edges %v, but they are %v", file, got, edges)
		}
	}
	if lb := project.Services["lb"]; len(lb.Ports) != 1 || lb.Ports[0].Target != 8080 || !strings.Contains(read(t, "deploy/haproxy/haproxy.cfg"), "bind :8080") {
		t.Errorf("the balancer publishes %v", lb.Ports)
	}
	for name, s := range project.Services {
		if _, atFront := s.Networks["front"]; atFront != (name == "lb" || name == "bench" || strings.HasPrefix(name, "edge-")) {
			t.Errorf("%s: networks %v", name, s.NetworksByPriority())
		}
		if len(s.Ports) > 0 && name != "lb" && s.Ports[0].HostIP != "127.0.0.1" {
			t.Errorf("%s: publishes %v to everybody", name, s.Ports)
		}
	}
}

// balancerFiles name edges.
var balancerFiles = []string{"deploy/haproxy/haproxy.cfg", "deploy/nginx/nginx.conf", "deploy/caddy/Caddyfile", "deploy/envoy/envoy.yaml",
	"deploy/traefik/dynamic.yml"}

// settingsOf are the settings of a service that serves, or nil.
func settingsOf(t *testing.T, s types.ServiceConfig) *config.Config {
	t.Helper()
	if len(s.Command) == 0 || s.Command[0] != "serve" {
		return nil
	}
	cfg, _, err := config.Load("", localEnv(t, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &cfg
}

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestComposeBroker: a NATS server takes the settings of deploy/nats with the environment of each NATS service and the keys that the
// program makes, and listens where the other services look for it.
func TestComposeBroker(t *testing.T) {
	secrets := t.TempDir()
	if out, err := exec.Command(gateway.Binary(t, true), "nkeys", secrets).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	project := loadComposeWith(t, secrets)
	for _, secret := range project.Secrets {
		if _, err := os.Stat(secret.File); err != nil {
			t.Error(err)
		}
	}
	var names []string
	for name, s := range project.Services {
		if !strings.HasPrefix(name, "nats-") {
			continue
		}
		names = append(names, name)
		for key, value := range s.Environment {
			t.Setenv(key, *value)
		}
		options, err := natsserver.ProcessConfigFile(filepath.Join(root, "deploy/nats", filepath.Base(s.Command[1])))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if options.ServerName != name || options.Port != 4222 || !strings.Contains(s.HealthCheck.Test[len(s.HealthCheck.Test)-1], ":"+strconv.Itoa(options.HTTPPort)+"/") {
			t.Errorf("%s: name %s, port %d, monitoring port %d", name, options.ServerName, options.Port, options.HTTPPort)
		}
		for _, r := range options.Routes {
			if _, ok := project.Services[r.Hostname()]; !ok || r.Port() != strconv.Itoa(options.Cluster.Port) {
				t.Errorf("%s: route %s is no service", name, r)
			}
		}
		if len(options.Routes) != 3 || len(options.Nkeys) < 3 {
			t.Errorf("%s: %d routes, %d users", name, len(options.Routes), len(options.Nkeys))
		}
		if !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Type == types.VolumeTypeVolume && strings.HasPrefix(options.StoreDir, v.Target)
		}) {
			t.Errorf("%s: the store %s is in no volume", name, options.StoreDir)
		}
	}
	if len(names) != 3 {
		t.Errorf("servers %v", names)
	}
}
