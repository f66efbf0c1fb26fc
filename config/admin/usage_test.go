package admin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/access"
	"sluice/internal/presence"
)

// Who sees a subscription sees how much of its plan is used; what nobody counts, or tells, is not there.
func TestSubscriptionUsage(t *testing.T) {
	r := newRig(t)
	publishedAPI(t, r, "Market", "1.0.0", "AsyncGold", "AsyncUnlimited")
	c := r.as("subscriber")
	app := newApp(t, c, "trader")
	sub := readAs[SubscriptionDefinition](t, c.send("POST", "/api/v1/subscriptions", mediaJSON,
		subscribeBody(t, "trader", "Market", "1.0.0", "AsyncGold")).want(t, http.StatusCreated))
	path := "/api/v1/subscriptions/" + sub.Status.ID + "/usage"
	look := func(want string) {
		t.Helper()
		got := string(c.send("GET", path, "", "").want(t, http.StatusOK).body)
		if diff := cmp.Diff(want, strings.TrimSpace(got)); diff != "" {
			t.Error(diff)
		}
	}
	head := `{"id":"` + sub.Status.ID + `","known":`
	look(head + `false,"why":"no edge tells","plan":"AsyncGold","enforced":true}`)

	at := time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC)
	var asked []presence.Limit
	r.nodes.usage = func(limits []presence.Limit) (presence.Usage, int) {
		asked = limits
		return presence.Usage{At: at.Add(time.Hour), Used: []presence.Used{{Start: at, End: at.Add(24 * time.Hour), Given: 130, Spent: 120}, {Streams: 3}}}, 1
	}
	look(head + `true,"at":"2026-11-26T06:00:00Z","silent":1,"plan":"AsyncGold","enforced":true,"events":{"every":1,"from":"2026-11-26T05:00:00Z",` +
		`"limit":50000,"reserved":10,"resetAt":"2026-11-27T05:00:00Z","unit":"day","used":120},"streams":{"limit":50,"open":0},"application":{"streams":{"open":3}}}`)
	want := []presence.Limit{{Kind: "sub", ID: sub.Status.ID, Events: 50000, Every: 1, Unit: "day"}, {Kind: "app", ID: app.Status.ID}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}

	// Without limits nobody counts; an application's own plan is another one.
	edited := resource(t, "Application", map[string]any{"name": "trader"}, map[string]any{"plan": "AsyncGold"})
	r.as("admin").send("PUT", "/api/v1/applications/"+app.Status.ID, mediaJSON, edited, "If-Match", "*").want(t, http.StatusOK)
	c.send("PUT", "/api/v1/subscriptions/"+sub.Status.ID, mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncUnlimited"), "If-Match", "*").want(t, http.StatusOK)
	r.nodes.usage = func([]presence.Limit) (presence.Usage, int) {
		return presence.Usage{At: at, Used: []presence.Used{{}, {Start: at, End: at.Add(24 * time.Hour), Given: 5, Spent: 5}}}, 0
	}
	look(head + `true,"at":"2026-11-26T05:00:00Z","plan":"AsyncUnlimited","enforced":true,"application":{"plan":"AsyncGold","enforced":true,` +
		`"events":{"every":1,"from":"2026-11-26T05:00:00Z","limit":50000,"reserved":0,"resetAt":"2026-11-27T05:00:00Z","unit":"day","used":5},"streams":{"open":0}}}`)

	for who, status := range map[string]int{"admin": http.StatusOK, "both": http.StatusOK, "publisher": http.StatusOK, "friend": http.StatusNotFound, "other": http.StatusForbidden} {
		if a := r.as(who).send("GET", path, "", ""); a.status != status {
			t.Errorf("%s: %d, want %d", who, a.status, status)
		}
	}
	if g := r.server.access.Snapshot().GrantByID(sub.Status.ID); g.State != access.SubUnblocked {
		t.Errorf("state %s", g.State)
	}
}
