package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a broker inside this process: the real nats-server with JetStream, no
// listener, no signal handlers. Node starts one itself; only tests and tools that
// restart it on their own start one apart.
type Server struct {
	ns   *server.Server
	temp string // folder to remove at the end, "" = none
}

// StartServer starts a broker with c's Name, Dir, Durability and limits and waits
// until JetStream answers or ctx ends. Only one process may use a Dir at a time.
func StartServer(ctx context.Context, c Config, log *slog.Logger) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if c.Dir == "" { // memory only: else the server would share a folder of its own choice
		s.temp, err = os.MkdirTemp("", "sluice-broker-")
		c.Dir = s.temp
	} else {
		err = os.MkdirAll(c.Dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("broker: data folder: %w", err)
	}
	opts := &server.Options{
		ServerName:             c.Name,
		DontListen:             true,
		NoSigs:                 true, // else it would end the process on SIGTERM under us
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               c.Dir,
		JetStreamMaxMemory:     c.MaxMemory,
		JetStreamMaxStore:      c.MaxStore,
		MaxPayload:             maxPayload,
		MaxPending:             64 << 20,
		WriteDeadline:          10 * time.Second,
		SyncInterval:           time.Second,
		SyncAlways:             c.Durability == ProfilePower,
	}
	if s.ns, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("broker: embedded server: %w", err)
	}
	s.ns.SetLoggerV2(serverLog{log}, false, false, false)
	s.ns.Start()
	if err := s.waitReady(ctx); err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// Conn opens a connection to the broker.
func (s *Server) Conn() (net.Conn, error) { return s.ns.InProcessConn() }

// Shutdown stops the broker and waits until its store is closed.
func (s *Server) Shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	if s.temp != "" {
		_ = os.RemoveAll(s.temp) //nolint:errcheck // a temporary folder
	}
}

// waitReady waits for JetStream, which comes later than the server's own readiness.
func (s *Server) waitReady(ctx context.Context) error {
	nc, err := nats.Connect("", nats.InProcessServer(dialer(s.Conn)), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(5*time.Millisecond), nats.MaxReconnects(-1), nats.NoReconnect())
	if err != nil {
		return fmt.Errorf("broker: embedded server: %w", err)
	}
	defer nc.Close()
	return waitAccount(ctx, nc)
}

// waitAccount polls the account information until JetStream answers.
func waitAccount(ctx context.Context, nc *nats.Conn) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		m, err := nc.RequestWithContext(try, "$JS.API.INFO", nil)
		cancel()
		if err == nil {
			err = apiError(m.Data)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("broker: JetStream is not ready: %w", errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

type dialer func() (net.Conn, error)

func (d dialer) InProcessConn() (net.Conn, error) { return d() }

// serverLog hands the server's lines to slog: its notices are our debug lines.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(f string, v ...any) { l.log.Debug("broker: " + fmt.Sprintf(f, v...)) }
func (l serverLog) Warnf(f string, v ...any)   { l.log.Warn("broker: " + fmt.Sprintf(f, v...)) }
func (l serverLog) Fatalf(f string, v ...any)  { l.log.Error("broker: " + fmt.Sprintf(f, v...)) }
func (l serverLog) Errorf(f string, v ...any)  { l.log.Error("broker: " + fmt.Sprintf(f, v...)) }
func (l serverLog) Debugf(f string, v ...any)  { l.log.Debug("broker: " + fmt.Sprintf(f, v...)) }
func (l serverLog) Tracef(string, ...any)      {}
