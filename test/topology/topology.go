//go:build unix

package topology

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say what a topology has. Zero values are the usual ones.
type Options struct {
	// Dir is where logs, stores and settings go; it is made, and what is in it stays until Down. Needed.
	Dir string
	// Root is the repository: programs are built from it, settings come from its deploy folder. Needed.
	Root string
	// Sluice is the program; empty: it is built. Server is nats-server; empty: it is built.
	Sluice, Server string
	// Brokers, Ingests and Edges are how many. Default 3, 2, 3.
	Brokers, Ingests, Edges int
	// Listen is where the balancer listens. Default a free port of 127.0.0.1.
	Listen string
	// APIs are definition files by name; an occurrence of {market} is replaced by the market's host:port. Default: the
	// market's example.
	APIs map[string]string
	// Catalog leaves APIs out: definitions come by Manage, and are kept in the broker.
	Catalog bool
	// MarketArgs are added to `sluice feed`. With Market the market is somewhere else, and not started here.
	MarketArgs []string
	Market     string
	// BrokerHost is, by the name of a gateway, the address of this machine by which it reaches the NATS servers, so that a
	// firewall can tell it from others; the servers then listen on all addresses. Default 127.0.0.1.
	BrokerHost map[string]string
	// Env are settings of all gateways, SLUICE_….
	Env []string
}

// Topology is a deployment on this machine.
type Topology struct {
	opt Options
	all []*Process

	mu    sync.Mutex
	taken map[string]bool // addresses given out
}

// New prepares a topology: it builds programs, makes keys and writes settings, and starts nothing.
func New(ctx context.Context, opt Options) (*Topology, error) {
	def(&opt.Brokers, 3)
	def(&opt.Ingests, 2)
	def(&opt.Edges, 3)
	t := &Topology{opt: opt, taken: map[string]bool{}}
	for _, need := range []string{"redis-server", "haproxy"} {
		if _, err := exec.LookPath(need); err != nil {
			return nil, fmt.Errorf("%s is not installed (apt-get install redis-server haproxy)", need)
		}
	}
	var err error
	if t.opt.Dir, err = filepath.Abs(opt.Dir); err != nil {
		return nil, err
	}
	if t.opt.Root, err = filepath.Abs(opt.Root); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(t.opt.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := errors.Join(
		t.build(ctx, &t.opt.Sluice, "sluice", "./cmd/sluice"),
		t.build(ctx, &t.opt.Server, "nats-server", "github.com/nats-io/nats-server/v2"),
	); err != nil {
		return nil, err
	}
	return t, t.plan(ctx)
}

func def(n *int, usual int) {
	if *n == 0 {
		*n = usual
	}
}

func (t *Topology) build(ctx context.Context, program *string, name, pkg string) error {
	if *program != "" {
		return nil
	}
	*program = filepath.Join(t.opt.Dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", *program, pkg)
	cmd.Dir = t.opt.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return nil
}

// All are the processes, in the order in which they are started.
func (t *Topology) All() []*Process { return t.all }

// Of are the processes of a kind.
func (t *Topology) Of(k Kind) (some []*Process) {
	for _, p := range t.all {
		if p.Kind == k {
			some = append(some, p)
		}
	}
	return some
}

// Named returns a process by its name, nil if there is none.
func (t *Topology) Named(name string) *Process {
	for _, p := range t.all {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Folder is where a process keeps what it stores.
func (t *Topology) Folder(p *Process) string { return filepath.Join(t.opt.Dir, p.Name) }

// Key is the file with the nkey with which the gateways of a kind log in at the NATS servers.
func (t *Topology) Key(k Kind) string { return filepath.Join(t.opt.Dir, "keys", string(k)+".nk") }

// Manage runs a verb of the management command line as the first administrator of the control node.
func (t *Topology) Manage(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	control := t.Of(Control)[0]
	session := filepath.Join(t.opt.Dir, "session.json")
	run := func(stdin string, args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, t.opt.Sluice, args...)
		cmd.Env = append(os.Environ(), "SLUICE_CREDENTIALS="+session, "SLUICE_SERVER=http://"+control.Addr)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("sluice %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
		return out, nil
	}
	if _, err := os.Stat(session); err != nil {
		password, err := os.ReadFile(filepath.Join(t.Folder(control), "first-admin-password"))
		if err != nil {
			return nil, err
		}
		if _, err := run(string(password), "login"); err != nil {
			return nil, err
		}
	}
	return run(stdin, args...)
}

// URL is a path at the balancer.
func (t *Topology) URL(path string) string { return "http://" + t.Of(Balancer)[0].Addr + path }

// Up starts everything, kind by kind, and waits until all is ready. told is called as each kind is, and may be nil.
func (t *Topology) Up(ctx context.Context, told func(Kind)) error {
	for i := 0; i < len(t.all); {
		kind := t.all[i].Kind
		same := t.Of(kind)
		i += len(same)
		for _, p := range same {
			if err := errors.Join(p.Start(), t.save()); err != nil {
				return err
			}
		}
		for _, p := range same {
			if err := p.WaitReady(ctx); err != nil {
				return err
			}
		}
		if told != nil {
			told(kind)
		}
	}
	return nil
}

// Down ends everything in the opposite order, each kind at once, and removes the state that DownFrom would need.
func (t *Topology) Down(patience time.Duration) {
	for i := len(t.all); i > 0; {
		same := t.Of(t.all[i-1].Kind)
		i -= len(same)
		var ends sync.WaitGroup
		for _, p := range same {
			ends.Go(func() {
				_ = p.Signal(syscall.SIGCONT) // it may be frozen
				p.End(syscall.SIGTERM, patience)
			})
		}
		ends.Wait()
	}
	_ = os.Remove(stateFile(t.opt.Dir)) // the folder may be gone
}

// state is what another process needs to end the topology.
type state struct {
	Processes []stateProcess `json:"processes"` // in the order in which they were started
}

type stateProcess struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	Born string `json:"born"` // when it was started: ids are used again
}

func stateFile(dir string) string { return filepath.Join(dir, "state.json") }

// Start starts one process and notes it for DownFrom.
func (t *Topology) Start(p *Process) error { return errors.Join(p.Start(), t.save()) }

func (t *Topology) save() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s state
	for _, p := range t.all {
		if pid := p.PID(); pid != 0 {
			s.Processes = append(s.Processes, stateProcess{p.Name, pid, born(pid)})
		}
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(stateFile(t.opt.Dir), text, 0o600)
}

// DownFrom, which needs Linux, ends the topology that was started with the folder dir, whoever started it, and removes the folder. It ends
// only those processes that were started. It returns their names.
func DownFrom(dir string, patience time.Duration) (ended []string, err error) {
	text, err := os.ReadFile(stateFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, os.RemoveAll(dir)
	}
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", stateFile(dir), err)
	}
	for i := len(s.Processes) - 1; i >= 0; i-- {
		p := s.Processes[i]
		if !runs(p) {
			continue
		}
		ended = append(ended, p.Name)
		proc, err := os.FindProcess(p.PID)
		if err != nil {
			continue
		}
		_ = proc.Signal(syscall.SIGCONT) // it may be frozen, or have ended
		_ = proc.Signal(syscall.SIGTERM)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for _, p := range s.Processes {
		for runs(p) {
			select {
			case <-tick.C:
			case <-late:
				late = time.After(patience)
				if proc, err := os.FindProcess(p.PID); err == nil {
					_ = proc.Kill()
				}
			}
		}
	}
	return ended, os.RemoveAll(dir)
}

// runs reports whether a process still is what was started.
func runs(p stateProcess) bool { return p.Born != "" && born(p.PID) == p.Born }

// born tells the processes of one id apart: the kernel's start time of the one that lives, "" = none.
func born(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// addr gives out an address of this machine that nobody listens on, each once. Ports are below those that the system gives
// to connections, so that none takes one while its process is away.
func (t *Topology) addr() (string, error) {
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
		if t.taken[addr] {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		ln.Close()
		t.taken[addr] = true
		return addr, nil
	}
	return "", errors.New("no free port")
}
