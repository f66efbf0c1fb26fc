package obs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry makes the process's metric registry with the collectors of Go and of
// the process, and sluice_build_info.
func NewRegistry(version, commit string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_build_info", Help: "1; the labels name the build.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit},
	})
	build.Set(1)
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build,
	)
	reg.MustRegister(memoryGauges()...)
	return reg
}

// NewMux makes the handlers of the ops listener: /livez /healthz /readyz /metrics
// /version /debug/pprof/. The caller may add more. version is shown as JSON.
func NewMux(h *Health, reg *prometheus.Registry, version any) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", h.ServeLive)
	mux.HandleFunc("GET /healthz", h.ServeLive)
	mux.HandleFunc("GET /readyz", h.ServeReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(version)
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// Ops serves the ops listener.
type Ops struct {
	ln  net.Listener
	srv *http.Server
	log *slog.Logger
}

// ListenOps opens addr for h. The listener is open when it returns; nothing is
// served before Run.
func ListenOps(ctx context.Context, addr string, h http.Handler, log *slog.Logger) (*Ops, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("ops listener: %w", err)
	}
	return &Ops{ln: ln, log: log, srv: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

// Addr is the address that is listened on.
func (o *Ops) Addr() net.Addr { return o.ln.Addr() }

// Run serves until ctx ends and returns when the server is gone. Requests under
// way get one second.
func (o *Ops) Run(ctx context.Context) error {
	o.log.Info("listening", "listener", "ops", "addr", o.ln.Addr().String())
	served := make(chan error, 1)
	go func() { served <- o.srv.Serve(o.ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("ops listener: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := o.srv.Shutdown(grace); err != nil {
		_ = o.srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("ops listener: %w", err)
	}
	return nil
}
