package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/broker"
	"sluice/internal/obs"
)

// accessWait is how long a start waits for what says who may read; behind it the last good copy was shown, if there is one. Without any
// the node goes on, and lets nobody read what is protected.
const accessWait = 3 * time.Second

// buildAccess follows what the broker keeps of who may read what: control writes it, edges read it.
func (p *process) buildAccess(ctx context.Context) error {
	control := p.cfg.Has(config.RoleControl)
	if !control && !p.cfg.Has(config.RoleEdge) {
		return nil
	}
	pepper, err := secretOf(p.cfg.Auth.PepperFile)
	if err != nil {
		return err
	}
	p.access = access.New(access.Options{
		Open: func(ctx context.Context, name string) (broker.Bucket, error) {
			if control {
				return p.broker.Admin().EnsureBucket(ctx, access.Spec(name))
			}
			return p.broker.Bucket(name), nil
		},
		Bus: p.broker.Bus(), Writes: control, Dir: filepath.Join(p.cfg.Data, "access"), Pepper: pepper, Logger: p.log,
	})
	p.reg.MustRegister(accessMetrics{p.access})
	p.health.Ready("access", p.accessHealth)
	p.start("access", p.access.Run)
	late := time.NewTimer(accessWait)
	defer late.Stop()
	select {
	case <-p.access.Ready():
	case <-late.C:
	case <-ctx.Done():
	}
	return nil
}

// accessHealth tells whether it is known who may read, and whether that is the newest. The node stays ready: topics without security and
// streams that are open go on.
func (p *process) accessHealth() (obs.Grade, string) {
	s := p.access.Status()
	switch {
	case p.access.Snapshot().Revision() == 0:
		return obs.Degraded, "not loaded yet, protected topics are refused: " + s.Why
	case s.Suspect != "":
		return obs.Degraded, s.Suspect
	case !s.Loaded:
		return obs.Degraded, "stale: working by the last good copy; " + s.Why
	}
	return obs.OK, ""
}

// buildBeacons tells the other nodes the newest revisions of what control writes, and hears for the catalog what is told.
func (p *process) buildBeacons(context.Context) error {
	buckets := map[string]broker.Bucket{}
	names := []string{access.Bucket, access.RevokeBucket}
	if p.manager != nil {
		names = append(names, catalog.Bucket)
		p.start("catalog beacons", func(ctx context.Context) error {
			return broker.HearRevisions(ctx, p.broker.Bus(), map[string]*broker.Lag{catalog.Bucket: p.lag})
		})
	}
	if !p.cfg.Has(config.RoleControl) {
		return nil
	}
	for _, name := range names {
		buckets[name] = p.broker.Bucket(name)
	}
	p.start("revisions", func(ctx context.Context) error {
		return broker.TellRevisions(ctx, p.broker.Bus(), nodeName(p.cfg), buckets)
	})
	return nil
}

// accessMetrics tell of what says who may read.
type accessMetrics struct{ store *access.Store }

var (
	accessRev     = prometheus.NewDesc("sluice_access_rev", "Revision of the newest change of a bucket that this node has seen.", []string{"bucket"}, nil)
	accessRecords = prometheus.NewDesc("sluice_access_records", "Records that say who may read, by kind.", []string{"kind"}, nil)
	accessStale   = prometheus.NewDesc("sluice_access_stale", "1 while it is worked by the last good copy, or by nothing, because the buckets were not read yet.", nil, nil)
	accessSuspect = prometheus.NewDesc("sluice_access_suspect", "1 while a bucket lacks records that nobody deleted; the last good ones count.", nil, nil)
	accessRefused = prometheus.NewDesc("sluice_access_refused_records", "Records that cannot be read; the ones before them count.", nil, nil)
	accessResyncs = prometheus.NewDesc("sluice_access_resyncs_total", "Times that everything was read anew because control told of more than was seen.", nil, nil)
	accessAge     = prometheus.NewDesc("sluice_access_age_seconds", "Time since control last found this node up to date; absent before it did.", nil, nil)
)

// Describe implements prometheus.Collector.
func (a accessMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{accessRev, accessRecords, accessStale, accessSuspect, accessRefused, accessResyncs, accessAge} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (a accessMetrics) Collect(ch chan<- prometheus.Metric) {
	s := a.store.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	flag := map[bool]float64{true: 1}
	gauge(accessRev, float64(s.Access), access.Bucket)
	gauge(accessRev, float64(s.Revoke), access.RevokeBucket)
	for kind, n := range a.store.Snapshot().Counts() {
		gauge(accessRecords, float64(n), kind)
	}
	gauge(accessStale, flag[!s.Loaded])
	gauge(accessSuspect, flag[s.Suspect != ""])
	gauge(accessRefused, float64(s.Refused))
	ch <- prometheus.MustNewConstMetric(accessResyncs, prometheus.CounterValue, float64(s.Resyncs))
	if !s.Fresh.IsZero() {
		gauge(accessAge, time.Since(s.Fresh).Seconds())
	}
}
