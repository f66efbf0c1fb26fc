package brokertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/internal/broker"
)

// Servers are NATS servers with JetStream, each a process of its own, built from the
// module that the embedded broker is. Methods are for the test's goroutine.
type Servers struct {
	t     testing.TB
	opt   ClusterOptions
	exe   string
	dir   string
	all   []*serverProcess
	admin *broker.Node // asks them about themselves
}

// ClusterOptions say how servers are started.
type ClusterOptions struct {
	// Conf is a configuration file as deploy/nats has them: what depends on the machine
	// is overridden by flags and the variables NATS_NAME, NATS_DATA, NATS_ROUTES and NATS_ZONE. Empty:
	// three servers as the profile cluster wants them, without users.
	Conf string
	// Env is added to the environment of the servers.
	Env []string
	// Node is how the test itself connects; URLs are filled in.
	Node broker.Config
	// Host is where they listen and what URLs name. Default 127.0.0.1.
	Host string
	// Scheme of URLs. Default nats.
	Scheme string
}

type serverProcess struct {
	name, addr, route, monitor string
	cmd                        *exec.Cmd
	done                       chan struct{} // closed when it has ended
}

// electionTimeout bounds waits for servers to agree.
const electionTimeout = 60 * time.Second

// Cluster starts n servers that form a cluster, or one alone, and waits until they keep
// streams. They end with the test.
func Cluster(t testing.TB, n int, opt ClusterOptions) *Servers {
	t.Helper()
	if opt.Host == "" {
		opt.Host = "127.0.0.1"
	}
	if opt.Scheme == "" {
		opt.Scheme = "nats"
	}
	s := &Servers{t: t, opt: opt, dir: t.TempDir(), exe: ServerProgram(t)}
	if s.opt.Conf == "" {
		s.opt.Conf = filepath.Join(s.dir, "plain.conf")
		if err := os.WriteFile(s.opt.Conf, []byte(plainConf), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		s.all = append(s.all, &serverProcess{
			name: fmt.Sprintf("nats-%d", i+1), addr: freeAddr(t, opt.Host), route: freeAddr(t, opt.Host), monitor: freeAddr(t, opt.Host),
		})
	}
	t.Cleanup(func() {
		for i := range s.all {
			s.Kill(i)
		}
		if t.Failed() {
			s.dumpLogs()
		}
	})
	for i := range s.all {
		s.launch(i)
	}
	s.admin = s.Open(opt.Node)
	s.WaitReady()
	return s
}

// ServerProgram builds nats-server for this test; BROKERTEST_SERVER names one that is
// built already.
func ServerProgram(t testing.TB) string {
	t.Helper()
	if exe := os.Getenv("BROKERTEST_SERVER"); exe != "" {
		return exe
	}
	exe := filepath.Join(t.TempDir(), "nats-server")
	if out, err := exec.Command("go", "build", "-o", exe, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("brokertest: build nats-server: %v\n%s", err, out)
	}
	return exe
}

// given holds the addresses that freeAddr has answered.
var given sync.Map

// freeAddr finds a port below the ephemeral range that nobody listens on. It answers
// none twice.
func freeAddr(t testing.TB, host string) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort(host, strconv.Itoa(10_000+rand.IntN(20_000)))
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = ln.Close() //nolint:errcheck // nothing was accepted
		if _, taken := given.LoadOrStore(addr, true); !taken {
			return addr
		}
	}
	t.Fatal("brokertest: no free port")
	return ""
}

const plainConf = `
max_payload: 2MB, max_pending: 64MB, write_deadline: "10s"
server_name: $NATS_NAME
jetstream {
  store_dir: $NATS_DATA, max_mem: 256MB, max_file: 8GB, sync_interval: always
  limits { batch { max_inflight_per_stream: 500, max_inflight_total: 5000 } }
}
`

// launch starts server i; it does not wait for it.
func (s *Servers) launch(i int) {
	s.t.Helper()
	p := s.all[i]
	host, port, _ := net.SplitHostPort(p.addr)
	_, monitor, _ := net.SplitHostPort(p.monitor)
	var routes []string
	for _, q := range s.all {
		routes = append(routes, "nats://"+q.route)
	}
	args := []string{"-c", s.opt.Conf, "-n", p.name, "-a", host, "-p", port, "-m", monitor,
		"-l", filepath.Join(s.dir, p.name+".log")}
	if len(s.all) > 1 {
		args = append(args, "--cluster_name", "sluice", "--cluster", "nats://"+p.route, "--routes", strings.Join(routes, ","))
	}
	p.cmd = exec.Command(s.exe, args...)
	p.cmd.Env = append(os.Environ(), "NATS_NAME="+p.name, "NATS_DATA="+filepath.Join(s.dir, p.name), "NATS_ZONE=az:"+p.name, "NATS_ROUTES=["+strings.Join(routes, ", ")+"]")
	p.cmd.Env = append(p.cmd.Env, s.opt.Env...)
	var stderr bytes.Buffer
	p.cmd.Stderr = &stderr
	if err := p.cmd.Start(); err != nil {
		s.t.Fatalf("brokertest: %s: %v", p.name, err)
	}
	done := make(chan struct{})
	p.done = done
	cmd := p.cmd
	go func() { // ends with the process, which Kill ends at the latest
		defer close(done)
		if err := cmd.Wait(); err != nil && stderr.Len() > 0 {
			fmt.Fprintf(os.Stderr, "brokertest: %s: %v: %s\n", p.name, err, stderr.Bytes())
		}
	}()
}

// URLs of all servers.
func (s *Servers) URLs() []string {
	var urls []string
	for _, p := range s.all {
		urls = append(urls, s.opt.Scheme+"://"+p.addr)
	}
	return urls
}

// Open connects a node; it ends with the test.
func (s *Servers) Open(cfg broker.Config) *broker.Node {
	s.t.Helper()
	return s.openAt(cfg, s.URLs())
}

func (s *Servers) openAt(cfg broker.Config, urls []string) *broker.Node {
	s.t.Helper()
	cfg.URLs = urls
	n, err := broker.Open(context.Background(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		s.t.Fatalf("brokertest: %v", err)
	}
	s.t.Cleanup(func() {
		_ = n.Close(context.Background()) //nolint:errcheck // its servers may be stopped
	})
	return n
}

// As is the same servers for a subtest: what it opens ends with it, and fails it.
func (s *Servers) As(t testing.TB) *Servers {
	sub := *s
	sub.t = t
	return &sub
}

// Join connects a node with faults; each of its connections goes to any server that
// answers. Save, RestoreOld, Stop and Restart are not for it.
func (s *Servers) Join(profile string) *Node {
	s.t.Helper()
	n := &Node{t: s.t, cfg: broker.Config{Name: "test", Durability: profile}, specs: &specs{m: map[string]broker.StreamSpec{}}}
	n.server = &switchable{away: s.dial}
	n.Node = n.open("")
	n.waitUp()
	for i := range s.all {
		n.voices = append(n.voices, s.openAt(s.opt.Node, s.URLs()[i:i+1]))
	}
	return n
}

// dial connects to a server, any at first, then the others.
func (s *Servers) dial() (net.Conn, error) {
	var last error
	for _, i := range rand.Perm(len(s.all)) {
		c, err := net.DialTimeout("tcp", s.all[i].addr, time.Second)
		if err == nil {
			return c, nil
		}
		last = err
	}
	return nil, last
}

// Clear deletes every stream and bucket.
func (s *Servers) Clear() {
	s.t.Helper()
	s.retry("streams are not deleted", func(ctx context.Context) error {
		answer, err := s.ask(ctx, "$JS.API.STREAM.NAMES", "")
		if err != nil {
			return err
		}
		var names struct{ Streams []string }
		if err := json.Unmarshal(answer, &names); err != nil {
			return err
		}
		for _, name := range names.Streams {
			if _, err := s.ask(ctx, "$JS.API.STREAM.DELETE."+name, ""); err != nil {
				return err
			}
		}
		return nil
	})
}

// Restart starts server i again on its store.
func (s *Servers) Restart(i int) {
	s.t.Helper()
	s.Kill(i)
	s.launch(i)
}

// Stop ends server i in order and waits.
func (s *Servers) Stop(i int) { s.end(i, syscall.SIGTERM) }

// Kill ends server i at once, as kill -9 does, and waits.
func (s *Servers) Kill(i int) { s.end(i, syscall.SIGKILL) }

func (s *Servers) end(i int, sig syscall.Signal) {
	p := s.all[i]
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig) //nolint:errcheck // it may have ended
	<-p.done
	p.cmd = nil
}

// WaitReady waits until the running servers keep streams on as many of them as there
// are in all.
func (s *Servers) WaitReady() {
	s.t.Helper()
	probe := fmt.Sprintf(`{"name":"PROBE","subjects":["probe.brokertest"],"storage":"memory","num_replicas":%d}`, min(len(s.all), 3))
	s.retry("the servers keep no streams", func(ctx context.Context) error {
		if _, err := s.ask(ctx, "$JS.API.STREAM.CREATE.PROBE", probe); err != nil {
			return err
		}
		_, err := s.ask(ctx, "$JS.API.STREAM.DELETE.PROBE", "")
		return err
	})
}

// streamInfo is what the servers tell of a stream, as far as we look.
type streamInfo struct {
	Cluster struct {
		Leader   string
		Replicas []struct {
			Name    string
			Current bool
			Offline bool
		}
	}
}

// Leader is the server that leads the API's stream.
func (s *Servers) Leader(api string) int {
	s.t.Helper()
	leader := -1
	s.retry("the stream of "+api+" has no leader", func(ctx context.Context) error {
		info, err := s.info(ctx, api)
		if err != nil {
			return err
		}
		for i, p := range s.all {
			if p.name == info.Cluster.Leader && p.cmd != nil {
				leader = i
				return nil
			}
		}
		return fmt.Errorf("leader %q", info.Cluster.Leader)
	})
	return leader
}

// WaitCurrent waits until every replica of the API's stream is there and has all of it.
func (s *Servers) WaitCurrent(api string) {
	s.t.Helper()
	s.retry("the replicas of "+api+" are not current", func(ctx context.Context) error { return s.current(ctx, "EV_"+api) })
}

// WaitAllCurrent does so for every stream there is, those of buckets too.
func (s *Servers) WaitAllCurrent() {
	s.t.Helper()
	s.retry("not all replicas are current", func(ctx context.Context) error {
		answer, err := s.ask(ctx, "$JS.API.STREAM.NAMES", "")
		if err != nil {
			return err
		}
		var names struct {
			Streams []string `json:"streams"`
		}
		if err := json.Unmarshal(answer, &names); err != nil || len(names.Streams) == 0 {
			return fmt.Errorf("no streams: %w", err)
		}
		for _, name := range names.Streams {
			if err := s.current(ctx, name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Servers) current(ctx context.Context, stream string) error {
	info, err := s.infoOf(ctx, stream)
	if err != nil {
		return err
	}
	for _, r := range info.Cluster.Replicas {
		if !r.Current || r.Offline {
			return fmt.Errorf("%s at %s: current %t, offline %t", stream, r.Name, r.Current, r.Offline)
		}
	}
	if len(info.Cluster.Replicas) != len(s.all)-1 {
		return fmt.Errorf("%s: %d followers", stream, len(info.Cluster.Replicas))
	}
	return nil
}

func (s *Servers) info(ctx context.Context, api string) (streamInfo, error) {
	return s.infoOf(ctx, "EV_"+api)
}

func (s *Servers) infoOf(ctx context.Context, stream string) (info streamInfo, err error) {
	answer, err := s.ask(ctx, "$JS.API.STREAM.INFO."+stream, "")
	if err == nil {
		err = json.Unmarshal(answer, &info)
	}
	return info, err
}

// StepDown makes the leader of the API's stream hand over.
func (s *Servers) StepDown(api string) {
	s.t.Helper()
	s.retry("the leader does not step down", func(ctx context.Context) error {
		_, err := s.ask(ctx, "$JS.API.STREAM.LEADER.STEPDOWN.EV_"+api, "")
		return err
	})
}

// LeadElsewhere has another server than i lead a stream, by its full name.
func (s *Servers) LeadElsewhere(stream string, i int) {
	s.t.Helper()
	s.retry(stream+" is not led elsewhere", func(ctx context.Context) error {
		info, err := s.infoOf(ctx, stream)
		if err != nil || info.Cluster.Leader != "" && info.Cluster.Leader != s.all[i].name {
			return err
		}
		if _, err := s.ask(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, ""); err != nil {
			return err
		}
		return fmt.Errorf("%s led it, and was asked to step down", info.Cluster.Leader)
	})
}

// Ask sends a request of the brokers' own API, once.
func (s *Servers) Ask(ctx context.Context, subject, body string) ([]byte, error) {
	return s.ask(ctx, subject, body)
}

func (s *Servers) ask(ctx context.Context, subject, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer, err := s.admin.Bus().Request(ctx, subject, []byte(body))
	if err == nil && bytes.Contains(answer, []byte(`"error"`)) {
		err = fmt.Errorf("%s: %s", subject, answer)
	}
	return answer, err
}

// retry repeats f until it succeeds.
func (s *Servers) retry(what string, f func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), electionTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		for _, p := range s.all {
			if p.cmd != nil && isClosed(p.done) {
				s.t.Fatalf("brokertest: %s: %s has ended", what, p.name)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("brokertest: %s: %v", what, errors.Join(err, ctx.Err()))
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Logged returns the lines of all servers' logs that hold text.
func (s *Servers) Logged(text string) []string {
	s.t.Helper()
	var lines []string
	for _, p := range s.all {
		log, err := os.ReadFile(filepath.Join(s.dir, p.name+".log"))
		if err != nil {
			s.t.Fatalf("brokertest: %v", err)
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, text) {
				lines = append(lines, p.name+": "+strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// dumpLogs shows the last things that the servers complained of.
func (s *Servers) dumpLogs() {
	for _, p := range s.all {
		text, err := os.ReadFile(filepath.Join(s.dir, p.name+".log"))
		if err != nil {
			continue
		}
		var lines []string
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "[ERR]") || strings.Contains(line, "[WRN]") || strings.Contains(line, "[FTL]") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		for _, line := range lines[max(0, len(lines)-20):] {
			s.t.Logf("%s: %s", p.name, line)
		}
	}
}
