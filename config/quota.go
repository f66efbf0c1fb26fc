package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
)

// Quota is where edges count together what plans allow: events, streams and connects.
type Quota struct {
	// Redis counts for all edges. Without it each edge counts alone: exact for one edge; several get their part each.
	Redis QuotaRedis `json:"redis"`
	// Edges is how many edges serve clients when there is no Redis: each lets through that part of every quota. Default 1. 1–1000.
	Edges int `json:"edges"`
}

// QuotaRedis is a Redis (7 or newer, or Valkey) that all edges reach. It holds counters only: one that comes back empty costs no
// subscription its limit for longer than a window.
type QuotaRedis struct {
	// URLs is redis://host:port/db, rediss://host:port/db for TLS, or unix:///path, without user and password; several are nodes of one
	// Redis Cluster. Default empty: no Redis.
	URLs []string `json:"urls"`
	// User logs in with a password; only a password logs in the default user. Default empty.
	User string `json:"user"`
	// Password of User. Better in the environment or in passwordFile than here. Default empty.
	Password Secret `json:"password"`
	// PasswordFile holds the password on its first line. Read again at each connect. Default empty.
	PasswordFile string `json:"passwordFile"`
	// TLS is for rediss:// URLs.
	TLS QuotaTLS `json:"tls"`
	// WaitReplicas is how many replicas must have an allotment before it counts, so that a failover does not forget it. Default 0: none.
	// 0–5; not with Redis Cluster. The Redis user needs the command wait.
	WaitReplicas int `json:"waitReplicas"`
}

// QuotaTLS is for connections to Redis.
type QuotaTLS struct {
	// CA is a PEM file of authorities that sign the servers' certificates. Default empty: the system's.
	CA string `json:"ca"`
	// Cert is a PEM file with this process's certificate chain, for servers that verify clients. Default empty: none.
	Cert string `json:"cert"`
	// Key is a PEM file with the private key of Cert.
	Key string `json:"key"`
	// ServerName is the name to expect in the servers' certificates. Default empty: the host of the URL.
	ServerName string `json:"serverName"`
}

func defaultQuota() Quota { return Quota{Edges: 1} }

func (v *validator) quota(q *Quota) {
	v.number("quota.edges", q.Edges, 1, 1000)
	r := &q.Redis
	secure := false
	for i, raw := range r.URLs {
		path := fmt.Sprintf("quota.redis.urls[%d]", i)
		u, err := url.Parse(raw)
		switch {
		case err != nil || !redisAddress(u):
			v.fail(path, "must be an address such as redis://host:6379/0, rediss://host:6379/0 or unix:///run/redis.sock")
		case u.User != nil:
			v.fail(path, "must not hold a user or a password: use quota.redis.user with quota.redis.passwordFile")
		case len(r.URLs) > 1 && u.Scheme == "unix":
			v.fail(path, "must be redis:// or rediss://: several URLs are nodes of one Redis Cluster")
		}
		secure = secure || err == nil && u.Scheme == "rediss"
	}
	hasPassword := r.Password != "" || r.PasswordFile != ""
	if r.User != "" && !hasPassword {
		v.fail("quota.redis.user", "needs quota.redis.passwordFile or quota.redis.password")
	}
	if r.Password != "" && r.PasswordFile != "" {
		v.fail("quota.redis.passwordFile", "cannot be used with quota.redis.password")
	}
	if r.TLS.Cert != "" && r.TLS.Key == "" {
		v.fail("quota.redis.tls.cert", "needs quota.redis.tls.key")
	}
	if r.TLS.Key != "" && r.TLS.Cert == "" {
		v.fail("quota.redis.tls.key", "needs quota.redis.tls.cert")
	}
	if r.TLS.CA+r.TLS.Cert+r.TLS.ServerName != "" && len(r.URLs) > 0 && !secure {
		v.fail("quota.redis.tls", "needs rediss:// in quota.redis.urls")
	}
	v.number("quota.redis.waitReplicas", r.WaitReplicas, 0, 5)
	if r.WaitReplicas > 0 && len(r.URLs) > 1 {
		v.fail("quota.redis.waitReplicas", "cannot be used with Redis Cluster, that is with several quota.redis.urls")
	}
}

// redisAddress tells whether u names a Redis: a host with at most a port and the number of a database, or a socket.
func redisAddress(u *url.URL) bool {
	if u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	switch u.Scheme {
	case "redis", "rediss":
		return u.Hostname() != "" && strings.Trim(u.Path, "/0123456789") == "" && strings.Count(u.Path, "/") <= 1
	case "unix":
		return u.Host == "" && strings.HasPrefix(u.Path, "/")
	}
	return false
}

// quotaFiles checks the files for connecting to Redis, so that check-config finds a wrong one before a connection does.
func (l *loader) quotaFiles() {
	r := l.cfg.Quota.Redis
	if len(r.URLs) == 0 {
		return
	}
	if r.TLS.CA != "" {
		if text, ok := l.read("quota.redis.tls.ca", r.TLS.CA); ok && !x509.NewCertPool().AppendCertsFromPEM(text) {
			l.errs = append(l.errs, l.at("quota.redis.tls.ca", r.TLS.CA+" holds no certificate in PEM", ""))
		}
	}
	if r.TLS.Cert != "" && r.TLS.Key != "" {
		if _, err := tls.LoadX509KeyPair(r.TLS.Cert, r.TLS.Key); err != nil {
			l.errs = append(l.errs, l.at("quota.redis.tls.cert", "cannot be used with quota.redis.tls.key: "+err.Error(), ""))
		}
	}
	if r.PasswordFile != "" {
		if text, ok := l.read("quota.redis.passwordFile", r.PasswordFile); ok && len(bytes.TrimSpace(text)) == 0 {
			l.errs = append(l.errs, l.at("quota.redis.passwordFile", r.PasswordFile+" is empty", ""))
		}
	}
}
