package ingest

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/ingest/upstream"
	"sluice/internal/broker"
	"sluice/internal/outbound"
)

// def is what one feed reads and how, made from one catalog snapshot. Immutable.
type def struct {
	id     broker.FeedID
	ref    catalog.FeedRef
	api    string // API.ID: for people and metrics
	topic  string
	path   string // canonical path and query, as the page of feeds shows it and hashed feeds store it
	always bool
	linger time.Duration
	maxAge time.Duration // of the topic's retention
	resume string
	park   bool // an answer 204 means: leave the upstream alone
	target upstream.Target
	source string // scheme, host and path of the upstream: ids of one source mean nothing to another
	sig    string // another value means: connect anew
	client *upstream.Client
	limit  *rate.Limiter
	broken *upstream.Error // why no connection can be tried; nil = one can
}

// SecretFunc returns the value of a named secret, false if there is none.
type SecretFunc func(name string) (string, bool)

// outlets makes clients for upstreams and keeps one per way of connecting and one rate limiter per endpoint. Owned by the
// supervisor's loop.
type outlets struct {
	cfg     config.Upstream
	guard   *outbound.Guard
	dialer  outbound.Dialer // nil = the guard's
	secret  SecretFunc
	product string
	clock   Clock
	clients map[string]*upstream.Client
	limits  map[string]*rate.Limiter
}

// sweep forgets clients and limiters of definitions that are gone. Those in use stay with their feeds.
func (o *outlets) sweep() {
	clear(o.clients)
	clear(o.limits)
}

// define makes the definition of the feed that r leads to.
func (o *outlets) define(r catalog.Route) *def {
	api, t := r.API, r.Topic
	up := api.Spec.Upstream
	d := &def{
		ref: r.Ref(), api: api.ID(), topic: t.Name,
		path:   broker.CanonicalPath(r.FeedPath, r.FeedQuery),
		always: t.AlwaysOn(),
		linger: t.Linger, maxAge: t.Retention.MaxAge,
		resume: string(up.Resume), park: up.On204 != catalog.On204Retry,
		target: upstream.Target{URL: r.Upstream, Idle: up.Idle, Assembly: o.cfg.Assembly,
			MaxEvent: int(o.cfg.MaxEvent)},
	}
	d.id = d.ref.ID()
	if up.MaxEvent > 0 {
		d.target.MaxEvent = int(min(up.MaxEvent, o.cfg.MaxEvent))
	}
	spec, err := json.Marshal(up)
	if err != nil {
		spec = []byte(err.Error()) // cannot be: it came from JSON
	}
	d.sig = r.Upstream + "\n" + string(spec)
	u, err := url.Parse(r.Upstream)
	if err != nil || u.Host == "" {
		d.broken = &upstream.Error{State: upstream.StateError, Pace: upstream.PaceMax, Why: "the API has no endpoint"}
		return d
	}
	d.source = u.Scheme + "://" + u.Host + u.EscapedPath()
	d.limit = o.limiter(u.Scheme + "://" + u.Host)
	if err := o.credentials(d, up); err != nil {
		d.broken = &upstream.Error{State: upstream.StateAuth, Pace: upstream.PaceMax, Why: clip(err.Error())}
		return d
	}
	d.client, err = o.clientFor(up)
	if err != nil {
		d.broken = &upstream.Error{State: upstream.StateTLS, Pace: upstream.PaceMax, Why: clip(err.Error())}
	}
	return d
}

func (o *outlets) limiter(origin string) *rate.Limiter {
	l := o.limits[origin]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(o.cfg.ConnectRate), o.cfg.ConnectRate)
		o.limits[origin] = l
	}
	return l
}

// credentials fills the headers of d.
func (o *outlets) credentials(d *def, up catalog.Upstream) error {
	h := make(http.Header, len(up.Headers)+1)
	for k, v := range up.Headers {
		h.Set(k, v)
	}
	d.target.Header = h
	a := up.Auth
	if a.Type == "" || a.Type == "none" {
		return nil
	}
	secret, err := o.named(a.Secret)
	if err != nil {
		return err
	}
	switch a.Type {
	case "basic":
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(a.Username+":"+secret)))
	case "bearer":
		h.Set("Authorization", "Bearer "+secret)
	case "apiKey":
		h.Set(a.Header, secret)
	default:
		return fmt.Errorf("credential type %s cannot be used by this version", a.Type)
	}
	return nil
}

// named returns a secret's value without the newline that files and shells put behind it.
func (o *outlets) named(name string) (string, error) {
	v, ok := o.secret(name)
	for len(v) > 0 && (v[len(v)-1] == '\n' || v[len(v)-1] == '\r') {
		v = v[:len(v)-1]
	}
	if !ok || v == "" {
		return "", fmt.Errorf("secret %q is not set", name)
	}
	return v, nil
}

// clientFor returns the client for one way of connecting.
func (o *outlets) clientFor(up catalog.Upstream) (*upstream.Client, error) {
	timeout := cmp.Or(up.ConnectTimeout, o.cfg.ConnectTimeout)
	t := up.TLS
	key := fmt.Sprintf("%s %q %q %q %t", timeout, t.CA, t.ClientCert, t.ServerName, t.InsecureSkipVerify)
	if c := o.clients[key]; c != nil {
		return c, nil
	}
	conf := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify} //nolint:gosec // the operator's word
	if t.CA != "" {
		pem, err := o.named(t.CA)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(pem)) {
			return nil, fmt.Errorf("secret %q holds no certificate", t.CA)
		}
	}
	if t.ClientCert != "" {
		pem, err := o.named(t.ClientCert)
		if err != nil {
			return nil, err
		}
		cert, err := tls.X509KeyPair([]byte(pem), []byte(pem))
		if err != nil {
			return nil, errors.New("secret " + t.ClientCert + " holds no certificate with its key")
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	dial := o.dialer
	if dial == nil {
		dial = o.guard.Dialer(timeout)
	}
	rt := outbound.Transport(dial, conf, outbound.Limits{TLS: o.cfg.TLSTimeout, Header: o.cfg.HeaderTimeout,
		Headers: int64(o.cfg.MaxHeader)})
	c := upstream.New(rt, o.check, o.product, o.clock)
	o.clients[key] = c
	return c, nil
}

func (o *outlets) check(u *url.URL) error {
	if o.guard == nil {
		return nil
	}
	return o.guard.CheckURL(u)
}
