package badinput

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/test/gateway"
)

// TestAccess sends what clients can send to prove who they are.
func TestAccess(t *testing.T) {
	t.Parallel()
	f := load(t, "access")
	for _, name := range slices.Sorted(maps.Keys(f.Fixtures)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, f.Fixtures[name], "auto")
			for _, c := range f.Cases {
				if onOrMain(c) == name {
					t.Run(c.ID, func(t *testing.T) {
						ran(t, c.ID)
						r.accessCase(t, c)
					})
				}
			}
			if n := r.doors.issuers.count("trap"); n > 0 {
				t.Errorf("%d requests to where only tokens say that there are keys", n)
			}
			r.end()
		})
	}
}

// accessCase is a case of an edge, or one of its own kind.
func (r *rig) accessCase(t *testing.T, c Case) {
	lines := r.gate.Logged(c.Want.Line.is)
	switch {
	case c.Send.Flood > 0:
		r.flood(t, c)
	case c.Send.AtOnce > 0:
		r.redeem(t, c)
	case c.Want.End != "":
		r.cutCase(t, c)
	default:
		r.edgeCase(t, c)
	}
	if c.Want.Line != nil && c.Send.Refetch == "" { // what was fetched before is told before
		until(t, "a line "+c.Want.Line.Event, func() bool { return r.gate.Logged(c.Want.Line.is) > lines })
	} else if c.Want.Line != nil && r.gate.Logged(c.Want.Line.is) == 0 {
		t.Errorf("no line %+v", c.Want.Line)
	}
}

// is tells whether a line of the log is this one; no line is none.
func (l *Log) is(e gateway.Entry) bool {
	if l == nil || !e.Is("msg", l.Event) || !e.Is("level", l.Level) {
		return false
	}
	for k, v := range l.Fields {
		if !e.Is(k, v) {
			return false
		}
	}
	return true
}

// cutCase holds streams, takes away what lets them in, wants them to be told why they end, and then comes back with the same.
func (r *rig) cutCase(t *testing.T, c Case) {
	outer := r.t
	r.t = t
	defer func() { r.t = outer }()
	r.fed = nil
	for _, w := range r.watched {
		r.fed = append(r.fed, w.name())
	}
	r.doors.prepare(t, c)
	as := r.expandAll(c.Send.As)
	if c.Send.Token != nil {
		as = append(as, r.expand("Authorization: Bearer ${token}"))
	}
	before := r.state()
	held := r.hold(t, c.Send.Hold, as...)
	if c.Send.Manage != nil {
		if a := r.ask(t, c.Send.Manage); a.status/100 != 2 {
			t.Fatalf("%s: %d %s", c.Send.Manage.Request, a.status, a.body)
		}
	}
	r.checkEnds(t, held, c.Want.End)
	counts := r.metrics()
	r.noted = append(r.noted, r.exchange(t, c))
	r.checkCounts(t, c.Want, counts, false)
	var after state
	if !until(t, "the state is as before", func() bool {
		after = r.state()
		after.Managed = before.Managed // that is another one
		return after.same(before, c.Want.Grows)
	}) {
		t.Errorf("state\n%+v\nbefore\n%+v", after, before)
	}
	r.flows(t)
}

// redeem sends the same request many times at the same time and counts the answers.
func (r *rig) redeem(t *testing.T, c Case) {
	outer := r.t
	r.t = t
	defer func() { r.t = outer }()
	before, target := r.state(), r.expand(c.Send.Get)
	got := make([]string, c.Send.AtOnce)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			resp, err := gateway.OneShot().Get(r.gate.URL(target))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got[i] = strconv.Itoa(resp.StatusCode); resp.StatusCode != http.StatusOK {
				got[i] += " " + strings.TrimPrefix(typeOf(resp.Body), "/problems/")
			}
		})
	}
	all.Wait()
	each := map[string]int{}
	for _, g := range got {
		each[g]++
	}
	if !maps.Equal(each, c.Want.Each) {
		t.Errorf("answers %v, want %v", each, c.Want.Each)
	}
	r.release(t, nil, before)
	r.flows(t)
}

// flood sends tokens of unknown keys from eight clients: all are refused, their issuer is asked once per ten seconds at most, and the log
// has ten lines a second at most.
func (r *rig) flood(t *testing.T, c Case) {
	issuer := c.Send.Token.Issuer
	counts, began := r.metrics(), time.Now()
	fetches, lines := r.doors.issuers.count(issuer), r.gate.Logged(c.Want.Log.is)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, MaxConnsPerHost: 8}, Timeout: deadline}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := w; i < c.Send.Flood && !t.Failed(); i += 8 {
				if status, kind := r.doors.unknown(t, client, issuer, "made-up-"+strconv.Itoa(i)); status != c.Want.Status || kind != c.Want.Type {
					t.Errorf("token %d: %d %s", i, status, kind)
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	if n := r.doors.issuers.count(issuer) - fetches; n > 1+int(took/(10*time.Second)) {
		t.Errorf("%d fetches in %v", n, took)
	}
	if n := r.gate.Logged(c.Want.Log.is) - lines; n < 1 || n > 10*(2+int(took/time.Second)) {
		t.Errorf("%d lines in %v", n, took)
	}
	w := Want{Count: map[string]int{"edge_refused_total": c.Send.Flood, `edge_refused_total{type="invalid-token"}`: c.Send.Flood}}
	r.checkCounts(t, w, counts, false)
	r.flows(t)
}
