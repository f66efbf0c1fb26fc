package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/config"
	"sluice/edge/quota"
	"sluice/internal/obs"
)

// buildQuota makes what counts plans' quotas and seats: with the other edges in Redis, or alone. A Redis that is away is no reason not to
// start: what plans say of that applies.
func (p *process) buildQuota() (*quota.Limiter, error) {
	src, err := p.quotaSource()
	if err != nil {
		return nil, withCode(exitFailed, err)
	}
	p.viewer = &viewer{src, src.Shared()}
	l := quota.New(quota.Options{Source: src, Edge: nodeName(p.cfg) + "." + p.boot, Edges: p.cfg.Quota.Edges, Logger: p.log})
	p.reg.MustRegister(quotaMetrics{l})
	if src.Shared() {
		p.health.Ready("redis", func() (obs.Grade, string) {
			if why := l.Status().Down; why != "" {
				return obs.Degraded, "quotas are not shared now: " + why
			}
			return obs.OK, ""
		})
	}
	p.start("quota", func(ctx context.Context) error { return errors.Join(l.Run(ctx), src.Close()) })
	return l, nil
}

// viewedSource is a source that can be looked at; both are.
type viewedSource interface {
	quota.Source
	quota.Viewer
}

func (p *process) quotaSource() (viewedSource, error) {
	r := p.cfg.Quota.Redis
	if len(r.URLs) == 0 {
		return quota.NewMemory(quota.MemoryOptions{File: filepath.Join(p.cfg.Data, "quota.state"), Edges: p.cfg.Quota.Edges})
	}
	secure, err := redisTLS(r.TLS)
	if err != nil {
		return nil, fmt.Errorf("quota.redis.tls: %w", err)
	}
	return quota.NewRedis(quota.RedisOptions{URLs: r.URLs, Login: redisLogin(r), TLS: secure, WaitReplicas: r.WaitReplicas})
}

// redisLogin reads the password at each connect, so that its file can change.
func redisLogin(r config.QuotaRedis) func() (user, password string, err error) {
	if r.Password == "" && r.PasswordFile == "" {
		return nil
	}
	return func() (string, string, error) {
		if r.PasswordFile == "" {
			return r.User, r.Password.Reveal(), nil
		}
		text, err := os.ReadFile(r.PasswordFile)
		if err != nil {
			return "", "", fmt.Errorf("quota.redis.passwordFile: %w", err)
		}
		line, _, _ := bytes.Cut(text, []byte("\n"))
		return r.User, string(bytes.TrimSpace(line)), nil
	}
}

func redisTLS(t config.QuotaTLS) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", t.CA)
		}
	}
	if t.Cert != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			return &pair, err
		}
	}
	return c, nil
}

// quotaMetrics reports how quotas are counted.
type quotaMetrics struct{ limiter *quota.Limiter }

var (
	quotaShared   = prometheus.NewDesc("sluice_quota_shared", "1 if quotas are counted with the other edges, in Redis; 0 if this edge counts alone.", nil, nil)
	quotaUp       = prometheus.NewDesc("sluice_quota_up", "0 while what counts quotas does not answer.", nil, nil)
	quotaFailures = prometheus.NewDesc("sluice_quota_failures_total", "Calls to what counts quotas that failed.", nil, nil)
	quotaBuckets  = prometheus.NewDesc("sluice_quota_buckets", "Subscriptions and applications whose events are counted here now.", nil, nil)
	quotaScopes   = prometheus.NewDesc("sluice_quota_seat_scopes", "Subscriptions, keys and applications that hold streams here now.", nil, nil)
)

// Describe implements prometheus.Collector.
func (quotaMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{quotaShared, quotaUp, quotaFailures, quotaBuckets, quotaScopes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (q quotaMetrics) Collect(ch chan<- prometheus.Metric) {
	s := q.limiter.Status()
	flag := map[bool]float64{true: 1}
	ch <- prometheus.MustNewConstMetric(quotaShared, prometheus.GaugeValue, flag[s.Shared])
	ch <- prometheus.MustNewConstMetric(quotaUp, prometheus.GaugeValue, flag[s.Down == ""])
	ch <- prometheus.MustNewConstMetric(quotaFailures, prometheus.CounterValue, float64(s.Failures))
	ch <- prometheus.MustNewConstMetric(quotaBuckets, prometheus.GaugeValue, float64(s.Buckets))
	ch <- prometheus.MustNewConstMetric(quotaScopes, prometheus.GaugeValue, float64(s.Scopes))
}
