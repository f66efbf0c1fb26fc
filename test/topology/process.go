//go:build unix

package topology

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Kind is what a process does.
type Kind string

// The kinds of processes, in the order in which they are started.
const (
	Broker   Kind = "nats"
	Redis    Kind = "redis"
	Market   Kind = "market"
	Control  Kind = "control"
	Ingest   Kind = "ingest"
	Edge     Kind = "edge"
	Balancer Kind = "balancer"
)

// Process is one process of a topology and its successors under the same name. Its methods may be called by anybody.
type Process struct {
	Name string
	Kind Kind
	// Addr is where it serves: clients of an edge or balancer, NATS clients, the market's streams, the management API. Empty:
	// nowhere.
	Addr string
	// Ops is the ops listener of a gateway, the monitor of a NATS server. Empty: none.
	Ops string
	// Log is the file that it writes to.
	Log string

	args  []string
	env   []string
	ready string // URL that answers below 300, or host:port that takes connections

	mu     sync.Mutex
	cmd    *exec.Cmd
	done   chan struct{} // closed when cmd has ended
	err    error         // of cmd, after done
	starts int
}

// Start runs the process, which must not be running, and does not wait for it to be ready.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("%s is running", p.Name)
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Dir = filepath.Dir(p.Log)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = ownGroup() // Ctrl-C in a terminal is for the harness, which ends them in order
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.err = cmd, done, nil
	p.starts++
	go func() { // ends with the process
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// running reports whether the last start has not ended; p.mu is held.
func (p *Process) running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Running reports whether it runs.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

// PID of the last start, 0 before the first.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Starts counts how often it was started.
func (p *Process) Starts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts
}

// Ended says how the last start ended, "" while it runs or before the first.
func (p *Process) Ended() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil || p.running() {
		return ""
	}
	if p.err == nil {
		return "exit 0"
	}
	return p.err.Error()
}

// Signal sends s to the process, if it runs.
func (p *Process) Signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("%s does not run", p.Name)
	}
	return p.cmd.Process.Signal(s)
}

// End sends s and waits until the process has ended; after patience it is killed. A process that does not run is fine.
func (p *Process) End(s syscall.Signal, patience time.Duration) {
	p.mu.Lock()
	running, done := p.running(), p.done
	if running {
		_ = p.cmd.Process.Signal(s) // it may end by itself this moment
	}
	p.mu.Unlock()
	if !running {
		return
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		p.Kill()
	}
}

// Kill ends the process as kill -9 does and waits.
func (p *Process) Kill() {
	p.mu.Lock()
	running, done := p.running(), p.done
	if running {
		_ = p.cmd.Process.Kill() // it may end by itself this moment
	}
	p.mu.Unlock()
	if running {
		<-done
	}
}

// Ready asks once whether the process serves.
func (p *Process) Ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, _, err := net.SplitHostPort(p.ready); err == nil {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.ready)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ready, nil)
	if err != nil {
		return false
	}
	resp, err := probe.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode < 300
}

// probe keeps no connection, so that a process can go as it likes.
var probe = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// WaitReady waits until the process serves. It fails when it ends or ctx does.
func (p *Process) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ready := p.Ready(ctx)
		if why := p.Ended(); why != "" { // also if somebody else answers at its address
			return fmt.Errorf("%s ended while it was awaited: %s; see %s\n%s", p.Name, why, p.Log, tail(p.Log))
		}
		if ready {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; see %s\n%s", p.Name, ctx.Err(), p.Log, tail(p.Log))
		}
	}
}

// tail is the end of a log, for an error.
func tail(file string) []byte {
	const most = 2 << 10
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return text[max(0, len(text)-most):]
}
