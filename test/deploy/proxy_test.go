package deploy

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/test/gateway"
)

// proxy is a balancer in front of two edges, run with the files of deploy/, in which only addresses, folders and the given
// settings are replaced.
type proxy struct {
	kind       string
	dir        string
	plain, tls string // addresses of the listeners; tls is empty if there is none

	cmd  *exec.Cmd
	done chan struct{}
	out  bytes.Buffer // after done
}

// kinds are the balancers that can be run here, by the Debian package that has them.
var kinds = []string{"nginx", "haproxy", "caddy"}

// startProxy starts a balancer in front of two edges. settings are old and new text in turn, as in strings.NewReplacer; an old
// text that is not in the files fails the test.
func startProxy(t *testing.T, kind string, edges [2]*gateway.Gateway, settings ...string) *proxy {
	t.Helper()
	program := need(t, kind, kind)
	p := &proxy{kind: kind, dir: t.TempDir(), plain: gateway.FreeAddr(t), done: make(chan struct{})}
	if kind != "caddy" {
		p.tls = gateway.FreeAddr(t)
		writeCertificate(t, p.dir)
	}
	replace := append([]string{
		"edge-1:8080", edges[0].Addrs["edge-http"], "edge-2:8080", edges[1].Addrs["edge-http"],
		"/etc/" + kind, p.dir, "/tmp/", p.dir + "/",
		"maxconn 100000", "maxconn 1000", "worker_rlimit_nofile 262144;", "", // more than a test may
		"listen 8080", "listen " + p.plain, "listen 8443", "listen " + p.tls,
		"bind :8080", "bind " + p.plain, "bind :8443", "bind " + p.tls,
	}, settings...)
	p.copyFiles(t, replace)
	for i := 0; i < len(settings); i += 2 {
		p.mustHold(t, settings[i+1])
	}
	check, run := p.commands(program)
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("%s refuses its file: %v\n%s", kind, err, out)
	}
	p.cmd = run
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // not SIGKILL: nginx's workers would stay
		<-p.done
		if t.Failed() {
			t.Logf("%s: %s", kind, tail(p.out.String(), 4<<10))
		}
	})
	until(t, kind+" listens", func() bool {
		select {
		case <-p.done:
			t.Fatalf("%s ended: %s", kind, p.out.String())
		default:
		}
		conn, err := net.Dial("tcp", p.plain)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return p
}

// copyFiles writes the files of deploy/KIND to the proxy's folder, without the third edge.
func (p *proxy) copyFiles(t *testing.T, replace []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy", p.kind, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of %s: %v", p.kind, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for l := range strings.Lines(string(text)) {
			if l = strings.ReplaceAll(l, " edge-3:8080 {", " {"); !strings.Contains(l, "edge-3") {
				kept = append(kept, l)
			}
		}
		changed := strings.NewReplacer(replace...).Replace(strings.Join(kept, ""))
		if err := os.WriteFile(filepath.Join(p.dir, filepath.Base(name)), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// mustHold fails if no file has the text.
func (p *proxy) mustHold(t *testing.T, text string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(p.dir, "*"))
	for _, name := range files {
		if b, _ := os.ReadFile(name); bytes.Contains(b, []byte(text)) {
			return
		}
	}
	t.Fatalf("%s: nothing was replaced by %q", p.kind, text)
}

// commands are how the balancer checks its files and how it runs.
func (p *proxy) commands(program string) (check, run *exec.Cmd) {
	file := func(name string) string { return filepath.Join(p.dir, name) }
	switch p.kind {
	case "nginx":
		args := []string{"-p", p.dir, "-c", file("nginx.conf"), "-g", "daemon off;"}
		return exec.Command(program, append([]string{"-t"}, args...)...), exec.Command(program, args...)
	case "haproxy":
		args := []string{"-f", file("haproxy.cfg"), "-f", file("haproxy-tls.cfg")}
		return exec.Command(program, append([]string{"-c"}, args...)...), exec.Command(program, append([]string{"-db"}, args...)...)
	}
	args := []string{"--config", file("Caddyfile"), "--adapter", "caddyfile"}
	check, run = exec.Command(program, append([]string{"validate"}, args...)...), exec.Command(program, append([]string{"run"}, args...)...)
	_, port, _ := net.SplitHostPort(p.plain)
	env := append(os.Environ(), "SLUICE_SITE=:"+port, "HOME="+p.dir, "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir)
	check.Env, run.Env = env, env
	return check, run
}

// reader is a client of the proxy, over HTTP/1.1 or, if h2, TLS and HTTP/2.
func (p *proxy) reader(t *testing.T, h2 bool) *reader {
	tr := &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2} //nolint:gosec // our own certificate
	url := "http://" + p.plain
	if h2 {
		url = "https://" + p.tls
	}
	r := &reader{t: t, http: &http.Client{Transport: tr}, url: url + "/puppet/1.0.0/t"}
	t.Cleanup(func() { r.close(); tr.CloseIdleConnections() })
	return r
}

// writeCertificate writes a self-signed certificate as each balancer wants it.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, from, from, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := os.Mkdir(filepath.Join(dir, "certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM}
	if strings.Contains(t.Name(), "haproxy") { // it reads all files of the folder
		files = map[string][]byte{"site.pem": append(certPEM, keyPEM...)}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, "certs", name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// TestProxies runs clients through each balancer: events come one by one, silence does not end a stream, and an edge that goes
// costs nothing.
func TestProxies(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			need(t, kind, kind)
			c := startCluster(t)
			edges := [2]*gateway.Gateway{c.edge(t), c.edge(t)}
			// Silence that ends a stream is scaled down with the heartbeat, 15 s to 5 s.
			settings := map[string][]string{
				"nginx":   {"proxy_read_timeout 60s", "proxy_read_timeout 8s", "send_timeout 60s", "send_timeout 8s"},
				"haproxy": {"timeout client 60s", "timeout client 8s", "timeout server 60s", "timeout server 8s"},
			}[kind]
			p := startProxy(t, kind, edges, settings...)
			until(t, "an edge is used", func() bool {
				r := p.reader(t, false)
				defer r.close()
				return r.connect() == nil
			})
			until(t, "the upstream is read", c.puppet.isRead) // nobody has an event from before
			testPingPong(t, c, p)
			testForwarded(t, p, edges)
			testReadyPathIsHidden(t, p)
			testSilence(t, c, p)
			testEdgesGo(t, c, p, edges)
			testNobodyThere(t, p, edges)
		})
	}
}

// testPingPong produces an event only after the client has the one before: a balancer that gathers events would wait for ever.
func testPingPong(t *testing.T, c *cluster, p *proxy) {
	for _, h2 := range []bool{false, true} {
		if h2 && p.tls == "" {
			continue
		}
		r := p.reader(t, h2)
		if err := r.connect(); err != nil {
			t.Fatal(err)
		}
		if h2 != (r.resp.ProtoMajor == 2) {
			t.Fatalf("spoke %s", r.resp.Proto)
		}
		for range 50 {
			want := c.puppet.emit()
			if got := r.mustEvent().data; got != strconv.Itoa(want) {
				t.Fatalf("event %s instead of %d", got, want)
			}
		}
		r.close()
	}
}

// testForwarded: the query and Last-Event-ID reach the edge, and it believes the balancer, not the client, about who the client
// is.
func testForwarded(t *testing.T, p *proxy, edges [2]*gateway.Gateway) {
	r := p.reader(t, false)
	r.url += "?from=last:3"
	if err := r.connect(); err != nil {
		t.Fatal(err)
	}
	first := r.mustEvent()
	second := r.mustEvent()
	r.close()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(r.url, "?from=last:3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", first.id)
	req.Header.Set("X-Forwarded-For", "203.0.113.9")
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resumed := &client{t, resp, bufio.NewReader(resp.Body)}
	if got := resumed.id(); got != second.id {
		t.Errorf("resumed after %s at %s instead of %s", first.id, got, second.id)
	}
	resumed.close()
	id := resp.Header.Get("X-Request-ID")
	until(t, "an edge closes the books", func() bool {
		for _, g := range edges {
			for _, e := range g.Log() {
				if e.Is("msg", "conn.close") && e.Is("request_id", id) {
					if !e.Is("client_ip", "127.0.0.1") {
						t.Errorf("the client is %v", e["client_ip"])
					}
					return true
				}
			}
		}
		return false
	})
}

func testReadyPathIsHidden(t *testing.T, p *proxy) {
	resp, err := gateway.OneShot().Get("http://" + p.plain + "/_ready")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("/_ready answers clients with %d", resp.StatusCode)
	}
}

// testSilence stays connected over four heartbeats, more than twice what may pass in silence, then gets an event.
func testSilence(t *testing.T, c *cluster, p *proxy) {
	var all sync.WaitGroup
	for _, h2 := range []bool{false, true} {
		if h2 && p.tls == "" {
			continue
		}
		r := p.reader(t, h2)
		if err := r.connect(); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for beats := 0; beats < 4; {
				l, err := r.next()
				if err != nil || l.end {
					t.Errorf("ended after %d heartbeats, h2 %v: %v", beats, h2, err)
					return
				}
				if l.heartbeat {
					beats++
				}
			}
		})
		defer r.close()
	}
	all.Wait()
}

// testEdgesGo: clients of both edges; one edge drains, comes back, the other is killed. Each client returns through the balancer
// with its last id, meets no status but 200, and misses nothing.
func testEdgesGo(t *testing.T, c *cluster, p *proxy, edges [2]*gateway.Gateway) {
	const clients = 12
	c.puppet.emit()
	last := make(chan struct{})
	var final int
	var all sync.WaitGroup
	var moved sync.Map
	for i := range clients {
		r := p.reader(t, p.tls != "" && i%3 == 0)
		if err := r.connect(); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer r.close()
			next := 0
			for {
				l, err := r.next()
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				if l.end {
					if err := r.connect(); err != nil {
						t.Errorf("client %d returns: %v", i, err)
						return
					}
					moved.Store(i, true)
					continue
				}
				if l.heartbeat {
					continue
				}
				n, _ := strconv.Atoi(l.data)
				if next != 0 && n != next {
					t.Errorf("client %d: event %d instead of %d", i, n, next)
					return
				}
				next = n + 1
				select {
				case <-last:
					if n >= final {
						return
					}
				default:
				}
			}
		})
	}
	stop := make(chan struct{})
	var emitter sync.WaitGroup
	emitter.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.puppet.emit()
			case <-stop:
				return
			}
		}
	})
	edges[0].Stop()
	edges[0].Start()
	until(t, "the edge that came back is used", func() bool {
		r := p.reader(t, false)
		defer r.close()
		return r.connect() == nil && streams(t, edges[0]) > 0
	})
	edges[1].Kill()
	edges[1].Start()
	close(stop)
	emitter.Wait()
	final = c.puppet.emit()
	close(last)
	c.puppet.emit() // so that everybody reads once more
	all.Wait()
	n := 0
	moved.Range(func(any, any) bool { n++; return true })
	if n == 0 {
		t.Error("no client had to move")
	}
}

// streams is how many streams an edge has open.
func streams(t *testing.T, g *gateway.Gateway) (n int) {
	t.Helper()
	_, text := g.Ops("/metrics")
	for l := range strings.Lines(string(text)) {
		if strings.HasPrefix(l, "sluice_edge_connections{") {
			f := strings.Fields(l)
			some, _ := strconv.Atoi(f[len(f)-1])
			n += some
		}
	}
	return n
}

// testNobodyThere: no edge is left. Who asked for an event stream is told when to come back, with 200 where the balancer can.
func testNobodyThere(t *testing.T, p *proxy, edges [2]*gateway.Gateway) {
	for _, g := range edges {
		g.Stop()
	}
	for _, accept := range []string{"text/event-stream", "application/json"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.plain+"/puppet/1.0.0/t", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		resp, err := gateway.OneShot().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		sse := accept == "text/event-stream" && p.kind != "caddy"
		if sse && (resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "retry: 10000\nevent: gateway.end\n")) {
			t.Errorf("an EventSource gets %d: %s", resp.StatusCode, body)
		}
		if !sse && resp.StatusCode/100 != 5 {
			t.Errorf("%s gets %d", accept, resp.StatusCode)
		}
	}
}
