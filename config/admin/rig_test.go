package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/auth"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/outbound"
	"sluice/internal/presence"
	"sluice/internal/version"
)

const testPassword = "correct horse battery"

// rig is a management API on a real broker, with a user of each role. Every answer is held against the contract.
type rig struct {
	t        *testing.T
	server   *Server
	accounts *auth.Accounts
	nodes    *heard
	node     brokertest.Broker
	http     *httptest.Server
	tokens   map[string]string // by user name; a user is named as the role
}

// heard is Nodes with the real edges of a broker, and feeds as the test has them.
type heard struct {
	*presence.Roster
	feeds  []FeedState
	silent []string
	look   func(n int) Look // nil = nothing runs; n counts the looks
	looked int
	usage  func(limits []presence.Limit) (presence.Usage, int) // nil = nobody tells
}

func (h *heard) Usage(_ context.Context, limits []presence.Limit) (presence.Usage, int) {
	if h.usage == nil {
		return presence.Sum(nil), 0
	}
	return h.usage(limits)
}

// Look is called by one at a time.
func (h *heard) Look(context.Context) Look {
	h.looked++
	if h.look == nil {
		return Look{}
	}
	return h.look(h.looked)
}

func (h *heard) Feeds(_ context.Context, _, _ string) ([]FeedState, []string) {
	return slices.Clone(h.feeds), h.silent
}

// runs starts f and stops it with the test.
func runs(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := newRigOn(t, brokertest.Start(t))
	r.signIn(r.accounts)
	return r
}

// newRigOn is a rig on a broker that others use too; nobody is signed in.
func newRigOn(t *testing.T, node brokertest.Broker) *rig {
	t.Helper()
	accounts, err := auth.New(auth.Config{
		Open:          func(ctx context.Context) (broker.Bucket, error) { return node.Admin().Bucket(ctx, auth.Bucket, 1) },
		FirstPassword: testPassword, Cost: auth.Cost{KiB: 64, Rounds: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, accounts.Run)
	store := access.New(access.Options{Open: func(ctx context.Context, name string) (broker.Bucket, error) {
		return node.Admin().EnsureBucket(ctx, access.Spec(name))
	}, Writes: true})
	runs(t, store.Run)
	guard := outbound.NewGuard(config.Default().Upstream.AllowCIDRs)
	manager := catalog.NewManager(catalog.ManagerOptions{
		Open: func(ctx context.Context) (broker.Bucket, error) {
			return node.Admin().Bucket(ctx, catalog.Bucket, catalog.BucketHistory)
		},
		Options:       catalog.OptionsFrom(config.Default()),
		Subscriptions: Subscriptions{Store: func() *access.Store { return store }},
	})
	manager.Group("default")
	runs(t, manager.Run)
	loaded := time.NewTicker(time.Millisecond)
	defer loaded.Stop()
	for range loaded.C {
		if manager.Status().Loaded {
			break
		}
	}
	nodes := &heard{Roster: presence.NewRoster(node.Bus(), slog.New(slog.DiscardHandler))}
	runs(t, nodes.Run)
	select {
	case <-store.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("plans are not loaded")
	}
	tickets, err := node.Admin().EnsureBucket(t.Context(), access.Spec(access.TicketBucket))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Deps{Accounts: accounts, Nodes: nodes, Catalog: manager, Access: store, Tickets: token.NewTickets(tickets, nil), Options: catalog.OptionsFrom(config.Default()), Guard: guard, Build: version.Build{Version: "test", Go: "go"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, server: s, accounts: accounts, nodes: nodes, node: node, http: httptest.NewServer(s), tokens: map[string]string{}}
	t.Cleanup(r.http.Close)
	return r
}

// newPair are two control nodes of one broker; the same people are signed in at both.
func newPair(t *testing.T) (one, two *rig) {
	t.Helper()
	one = newRig(t)
	two = newRigOn(t, one.node)
	<-two.accounts.Ready()
	two.tokens = one.tokens
	return one, two
}

// signIn makes a user of each role, and two of several, and signs them in.
func (r *rig) signIn(accounts *auth.Accounts) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	select {
	case <-accounts.Ready():
	case <-ctx.Done():
		r.t.Fatal("users are not loaded")
	}
	roles := map[string][]auth.Role{"creator": {auth.RoleCreator}, "publisher": {auth.RolePublisher}, "subscriber": {auth.RoleSubscriber},
		"both": {auth.RoleCreator, auth.RolePublisher}, "other": {auth.RoleCreator}, "friend": {auth.RoleSubscriber}}
	for name, list := range roles {
		if _, err := accounts.CreateUser(ctx, name, testPassword, list); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, name := range []string{"admin", "creator", "publisher", "subscriber", "both", "other", "friend"} {
		s, err := accounts.Login(ctx, "rig", name, testPassword)
		if err != nil {
			r.t.Fatal(err)
		}
		r.tokens[name] = s.Token
	}
}

// client sends requests as one user.
type client struct {
	*rig
	token string
}

func (r *rig) as(name string) client { return client{r, r.tokens[name]} }

func (r *rig) nobody() client { return client{r, ""} }

// answered is one answer, checked against the contract.
type answered struct {
	status int
	header http.Header
	body   []byte
}

// send makes one request. Further arguments are names and values of header fields.
func (c client) send(method, target, media, body string, header ...string) answered {
	c.t.Helper()
	a, err := c.try(method, target, media, body, header...)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// try is send for goroutines other than the test's.
func (c client) try(method, target, media, body string, header ...string) (answered, error) {
	req, err := http.NewRequest(method, c.http.URL+target, strings.NewReader(body))
	if err != nil {
		return answered{}, err
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Client().Do(req)
	if err != nil {
		return answered{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	var got []byte
	if res.Header.Get("Content-Type") != "text/event-stream" { // does not end
		if got, err = io.ReadAll(res.Body); err != nil {
			return answered{}, err
		}
	}
	c.validate(req, res, got)
	return answered{res.StatusCode, res.Header, got}, nil
}

// validate fails the test when an answer is not as openapi.yaml says.
func (r *rig) validate(req *http.Request, res *http.Response, body []byte) {
	r.t.Helper()
	op, params := r.server.contract.match(req.Method, req.URL.EscapedPath())
	if op == nil {
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed {
			r.t.Errorf("%s %s: %d, but openapi.yaml does not know it", req.Method, req.URL, res.StatusCode)
		}
		return
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params,
			Route: &routers.Route{Spec: r.server.contract.doc, Path: op.path, PathItem: op.item, Method: op.method, Operation: op.def}},
		Status: res.StatusCode, Header: res.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	in.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		r.t.Errorf("%s %s: answer %d is not as openapi.yaml says: %v\n%s", req.Method, req.URL.Path, res.StatusCode, err, clip(body))
	}
}

func clip(b []byte) []byte { return b[:min(len(b), 2000)] }

// match finds the operation of a path, as the router does.
func (c *contract) match(method, path string) (*operation, map[string]string) {
	var best *operation
	var bestParams map[string]string
	for _, op := range c.ops {
		if op.method != method {
			continue
		}
		want, have := strings.Split(op.path, "/"), strings.Split(path, "/")
		params := map[string]string{}
		ok := len(want) == len(have)
		for i := 0; ok && i < len(want); i++ {
			if name, isParam := strings.CutPrefix(want[i], "{"); isParam {
				params[strings.TrimSuffix(name, "}")] = have[i]
			} else {
				ok = want[i] == have[i]
			}
		}
		if ok && (best == nil || len(params) < len(bestParams)) {
			best, bestParams = op, params
		}
	}
	return best, bestParams
}

// want fails unless the answer has the status.
func (a answered) want(t *testing.T, status int) answered {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, clip(a.body))
	}
	return a
}

// problem reads the answer as a problem of that status and slug; slug "" = any.
func (a answered) problem(t *testing.T, status int, slug string) Problem {
	t.Helper()
	a.want(t, status)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %s", got)
	}
	p := decodeAs[Problem](t, a.body)
	if slug != "" && p.Type != "/problems/"+slug {
		t.Errorf("type %s, want %s: %s", p.Type, slug, a.body)
	}
	if p.Instance == "" || p.Instance != a.header.Get("X-Request-Id") {
		t.Errorf("instance %q, request %q", p.Instance, a.header.Get("X-Request-Id"))
	}
	return p
}

func decodeAs[T any](t *testing.T, body []byte) T {
	t.Helper()
	var out T
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%v: %s", err, clip(body))
	}
	return out
}
