package deploy

import (
	"regexp"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"sluice/config"
)

// longestHeartbeat is the longest silence that an edge may be set to.
const longestHeartbeat = 40 * time.Second

// TestSilence: no balancer ends a stream that is silent for as long as an edge may be, and those that ask edges whether they are
// ready know that one is not before it closes its port.
func TestSilence(t *testing.T) {
	for _, c := range []struct{ file, pattern string }{
		{"deploy/haproxy/haproxy.cfg", `timeout client (\d+)s`},
		{"deploy/haproxy/haproxy.cfg", `timeout server (\d+)s`},
		{"deploy/nginx/stream.conf", `proxy_read_timeout (\d+)s`},
		{"deploy/nginx/stream.conf", `[^_]send_timeout (\d+)s`},
		{"deploy/envoy/envoy.yaml", `stream_idle_timeout: (\d+)s`},
	} {
		if got := seconds(t, read(t, c.file), c.pattern); got <= longestHeartbeat {
			t.Errorf("%s: %s is %s, a heartbeat may take %s", c.file, c.pattern, got, longestHeartbeat)
		}
	}
	over := config.Default()
	over.Fanout.Heartbeat = longestHeartbeat
	if over.Validate() != nil {
		t.Errorf("a heartbeat of %s is refused", longestHeartbeat)
	}
	if over.Fanout.Heartbeat += time.Second; over.Validate() == nil {
		t.Errorf("heartbeats may be longer than %s", longestHeartbeat)
	}

	delay := config.Default().Edge.Drain.Delay
	for _, c := range []struct{ file, interval, times string }{
		{"deploy/haproxy/haproxy.cfg", `inter (\d+)s`, `fall (\d+)`},
		{"deploy/envoy/envoy.yaml", `(?m)^ +interval: (\d+)s`, `unhealthy_threshold: (\d+)`},
		{"deploy/caddy/Caddyfile", `health_interval (\d+)s`, ""},
		{"deploy/traefik/dynamic.yml", `interval: (\d+)s`, ""},
	} {
		text, times := read(t, c.file), time.Duration(1)
		if c.times != "" {
			times = seconds(t, text, c.times) / time.Second
		}
		if known := seconds(t, text, c.interval) * times; known >= delay {
			t.Errorf("%s: an edge that drains is known after %s, its port closes after %s", c.file, known, delay)
		}
	}
}

// TestBalancersThatDoNotRunHere: the files of Envoy and Traefik are YAML, and say what streams need.
func TestBalancersThatDoNotRunHere(t *testing.T) {
	for _, file := range []string{"deploy/envoy/envoy.yaml", "deploy/traefik/traefik.yml", "deploy/traefik/dynamic.yml"} {
		var doc map[string]any
		if err := yaml.Unmarshal([]byte(read(t, file)), &doc); err != nil || len(doc) == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	for file, patterns := range map[string][]string{
		"deploy/envoy/envoy.yaml":    {`cluster: edges,\s+timeout: 0s`, `path: /_ready`, `prefix: /_}, direct_response: \{status: 404\}`, `max_requests: \d{6}`},
		"deploy/traefik/traefik.yml": {`readTimeout: 0s`, `writeTimeout: 0s`, `filename: /etc/traefik/dynamic.yml`},
		"deploy/traefik/dynamic.yml": {`flushInterval: -1ms`, `path: /_ready`, "PathPrefix\\(`/_`\\)"},
	} {
		for _, p := range patterns {
			if !regexp.MustCompile(p).MatchString(read(t, file)) {
				t.Errorf("%s: nothing matches %s", file, p)
			}
		}
	}
}
