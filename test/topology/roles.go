//go:build unix

package topology

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// market is the definition of the example market.
const market = `apiVersion: sluice/v1
kind: API
metadata: {name: market}
spec:
  context: /market
  version: 1.0.0
  endpoint: http://{market}
  state: PUBLISHED
  retention: {maxAge: 1h, maxEvents: 100000, maxBytes: 256MiB}
  topics:
    - {name: /ticks, backend: /stream/ticks, security: none}
    - {name: '/quotes/{symbol}', params: {symbol: '^[A-Z]{1,5}$'}, backend: '/stream/quotes?s={symbol}', security: none}
    - {name: '/any/*', backend: '/stream/any/{*}', security: none}
`

// planner collects the first error of making a plan.
type planner struct {
	t   *Topology
	err error
	// counters is the URL of Redis.
	counters string
}

func (p *planner) addr() string {
	a, err := p.t.addr()
	p.note(err)
	return a
}

func (p *planner) note(err error) {
	if p.err == nil {
		p.err = err
	}
}

// write writes a file below the folder and returns its path.
func (p *planner) write(name, text string) string {
	path := filepath.Join(p.t.opt.Dir, name)
	p.note(os.MkdirAll(filepath.Dir(path), 0o755))
	p.note(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// plan decides addresses and settings of every process.
func (t *Topology) plan(ctx context.Context) error {
	p := &planner{t: t}
	keys := p.keys(ctx)
	urls := p.brokers(keys)
	p.counters = p.redis()
	upstream := p.market()
	p.apis(upstream)
	p.gateways(Control, 1, urls)
	p.gateways(Ingest, t.opt.Ingests, urls)
	p.gateways(Edge, t.opt.Edges, urls)
	p.balancer()
	return p.err
}

func (p *planner) add(k Kind, name string, q *Process) {
	q.Name, q.Kind, q.Log = name, k, filepath.Join(p.t.opt.Dir, name+".log")
	p.t.all = append(p.t.all, q)
}

// keys makes the keys of the users of deploy/nats/users.conf and returns what the servers are told of them.
func (p *planner) keys(ctx context.Context) (env []string) {
	dir := filepath.Join(p.t.opt.Dir, "keys")
	if out, err := exec.CommandContext(ctx, p.t.opt.Sluice, "nkeys", dir).CombinedOutput(); err != nil {
		p.note(fmt.Errorf("sluice nkeys: %w: %s", err, out))
		return nil
	}
	text, err := os.ReadFile(filepath.Join(dir, "nats.env"))
	p.note(err)
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		env = append(env, s.Text())
	}
	return env
}

// brokers plans the NATS servers, with the settings of deploy/nats, and returns their URLs.
func (p *planner) brokers(keys []string) (urls []string) {
	var routes []string
	for range p.t.opt.Brokers {
		routes = append(routes, "nats://"+p.addr())
	}
	conf := "single.conf"
	if p.t.opt.Brokers > 1 {
		conf = "cluster.conf"
	}
	for i, route := range routes {
		name, addr, monitor := fmt.Sprintf("nats-%d", i+1), p.addr(), p.addr()
		host, port, _ := net.SplitHostPort(addr)
		if len(p.t.opt.BrokerHost) > 0 {
			host = "0.0.0.0"
		}
		_, monitorPort, _ := net.SplitHostPort(monitor)
		args := []string{
			p.t.opt.Server, "-c", filepath.Join(p.t.opt.Root, "deploy", "nats", conf), "-n", name, "-a", host, "-p", port,
			"-m", monitorPort,
		}
		if len(routes) > 1 {
			args = append(args, "--cluster_name", "sluice", "--cluster", route, "--routes", strings.Join(routes, ","))
		}
		urls = append(urls, "nats://"+addr)
		p.add(Broker, name, &Process{
			Addr: addr, Ops: monitor, ready: "http://" + monitor + "/healthz", args: args,
			env: append([]string{"NATS_NAME=" + name, "NATS_ZONE=az:" + name, "NATS_DATA=" + filepath.Join(p.t.opt.Dir, name), "NATS_ROUTES=[" + strings.Join(routes, ", ") + "]"}, keys...),
		})
	}
	return urls
}

// redis plans the counters that edges share, and returns their URL.
func (p *planner) redis() string {
	addr := p.addr()
	host, port, _ := net.SplitHostPort(addr)
	p.add(Redis, "redis", &Process{Addr: addr, ready: addr, args: []string{
		"redis-server", "--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--dir", p.t.opt.Dir,
	}})
	return "redis://" + addr + "/0"
}

// market plans the upstream, unless there is one, and returns its host:port.
func (p *planner) market() string {
	if p.t.opt.Market != "" {
		return p.t.opt.Market
	}
	addr := p.addr()
	p.add(Market, "market", &Process{
		Addr: addr, ready: addr, args: append([]string{p.t.opt.Sluice, "feed", "--addr", addr}, p.t.opt.MarketArgs...),
	})
	return addr
}

func (p *planner) apis(upstream string) {
	files := p.t.opt.APIs
	if files == nil {
		files = map[string]string{"market.yaml": market}
	}
	for name, text := range files {
		p.write(filepath.Join("apis", name), strings.ReplaceAll(text, "{market}", upstream))
	}
}

// gateways plans the nodes of one role.
func (p *planner) gateways(k Kind, n int, urls []string) {
	role := string(k)
	for i := range n {
		name := role
		if n > 1 || k != Control {
			name = fmt.Sprintf("%s-%d", role, i+1)
		}
		ops := p.addr()
		servers := strings.Join(urls, ",")
		if host, ok := p.t.opt.BrokerHost[name]; ok {
			servers = strings.ReplaceAll(servers, "127.0.0.1", host)
		}
		q := &Process{Ops: ops, ready: "http://" + ops + "/readyz", args: []string{p.t.opt.Sluice, "serve"}}
		q.env = []string{
			"SLUICE_NODE=" + name, "SLUICE_ROLES=" + role, "SLUICE_DATA=" + filepath.Join(p.t.opt.Dir, name),
			"SLUICE_BROKER_URLS=" + servers, "SLUICE_BROKER_CREDENTIALS=" + p.t.Key(k),
			"SLUICE_OPS_ADDR=" + ops, "SLUICE_LOG_FORMAT=json", "SLUICE_EDGE_HTTPS_ADDR=",
			"SLUICE_UPSTREAM_ALLOW_CIDRS=127.0.0.0/8",
		}
		if !p.t.opt.Catalog {
			q.env = append(q.env, "SLUICE_CATALOG_APIS="+filepath.Join(p.t.opt.Dir, "apis"))
		}
		if p.t.opt.Brokers > 1 {
			q.env = append(q.env, "SLUICE_BROKER_DURABILITY=cluster")
		}
		switch k {
		case Control:
			q.Addr = p.addr()
			q.env = append(q.env, "SLUICE_CONTROL_ADDR="+q.Addr)
		case Edge:
			q.Addr = p.addr()
			q.env = append(q.env, "SLUICE_EDGE_HTTP_ADDR="+q.Addr, "SLUICE_QUOTA_REDIS_URLS="+p.counters, "SLUICE_EDGE_READY_PATH=/_ready", "SLUICE_EDGE_TRUSTED_PROXIES=127.0.0.1/32")
		}
		q.env = append(q.env, p.t.opt.Env...)
		p.add(k, name, q)
	}
}

// balancer plans HAProxy with the settings of deploy/haproxy, other addresses in place of those there.
func (p *planner) balancer() {
	text, err := os.ReadFile(filepath.Join(p.t.opt.Root, "deploy", "haproxy", "haproxy.cfg"))
	if err != nil {
		p.note(err)
		return
	}
	listen := p.t.opt.Listen
	if listen == "" {
		listen = p.addr()
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		switch field := strings.Fields(line); {
		case len(field) > 1 && field[0] == "bind" && field[1] == ":8080":
			fmt.Fprintf(&b, "    bind %s\n", listen)
		case len(field) > 2 && field[0] == "server":
			edge := p.t.Named(strings.TrimSuffix(field[1], "-unready"))
			if edge != nil {
				field[2] = edge.Addr
				b.WriteString("    " + strings.Join(field, " ") + "\n")
			}
		case len(field) > 2 && field[0] == "errorfile":
			field[2] = filepath.Join(p.t.opt.Root, "deploy", "haproxy", filepath.Base(field[2]))
			b.WriteString("    " + strings.Join(field, " ") + "\n")
		case len(field) > 1 && field[0] == "maxconn":
			b.WriteString("    maxconn 9000\n") // two descriptors each; a process may have 20,000 on a small machine
		default:
			b.WriteString(line)
		}
	}
	p.add(Balancer, "balancer", &Process{
		Addr: listen, ready: "http://" + listen + "/_balancer", args: []string{"haproxy", "-db", "-f", p.write("haproxy.cfg", b.String())},
	})
}
