package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/access"
)

// resource is a definition of a kind.
func resource(t *testing.T, kind string, meta, spec map[string]any) string {
	t.Helper()
	return body(t, map[string]any{"apiVersion": "sluice/v1", "kind": kind, "metadata": meta, "spec": spec})
}

func newApp(t *testing.T, c client, name string) ApplicationDefinition {
	t.Helper()
	a := c.send("POST", "/api/v1/applications", mediaJSON, resource(t, "Application", map[string]any{"name": name}, map[string]any{})).want(t, http.StatusCreated)
	d := readAs[ApplicationDefinition](t, a)
	if loc := a.header.Get("Location"); loc != "/api/v1/applications/"+d.Status.ID || a.header.Get("ETag") == "" {
		t.Errorf("location %q, tag %q", loc, a.header.Get("ETag"))
	}
	return d
}

// readAs decodes an answer by the decoder that reads requests.
func readAs[T any](t *testing.T, a answered) T {
	t.Helper()
	d, err := parse(a.body, mediaJSON)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%v: %s", err, clip(a.body))
	}
	return out
}

// publishedAPI makes an API that offers plans and publishes it.
func publishedAPI(t *testing.T, r *rig, name, version string, plans ...any) {
	t.Helper()
	path, _ := create(t, r.as("both"), name, func(d map[string]any) {
		put(t, d, "/spec/plans", plans)
		put(t, d, "/spec/version", version)
	})
	r.as("both").send("POST", path+"/lifecycle", mediaJSON, `{"action":"publish"}`).want(t, http.StatusOK)
}

func subscribeBody(t *testing.T, app, api, version, plan string, more ...any) string {
	t.Helper()
	spec := map[string]any{"application": app, "api": api, "version": version, "plan": plan}
	for i := 0; i+1 < len(more); i += 2 {
		spec[more[i].(string)] = more[i+1]
	}
	return resource(t, "Subscription", map[string]any{}, spec)
}

func TestFromApplicationToKey(t *testing.T) {
	r := newRig(t)
	publishedAPI(t, r, "Market", "1.0.0", "AsyncGold", "AsyncBronze")
	c := r.as("subscriber")

	app := newApp(t, c, "trader")
	if app.Metadata.Owner != "subscriber" || app.Spec.State != access.AppActive || len(app.Status.ID) != 12 {
		t.Errorf("application %+v", app)
	}
	sub := c.send("POST", "/api/v1/subscriptions", mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncGold")).want(t, http.StatusCreated)
	s := readAs[SubscriptionDefinition](t, sub)
	if s.Spec.State != access.SubUnblocked || s.Spec.Application != "trader" || s.Status.ApplicationID != app.Status.ID || s.Status.CreatedBy != "subscriber" {
		t.Errorf("subscription %+v", s)
	}
	key := c.send("POST", "/api/v1/applications/trader/keys", mediaJSON,
		`{"name":"desk","allowedIPs":["192.0.2.0/24","198.51.100.7"],"allowedOrigins":["https://app.example.com"],"topics":["/ticks"]}`).want(t, http.StatusCreated)
	k := readAs[KeyMade](t, key)
	if id, ok := access.ParseKey(access.APIKeySecret, k.Key); !ok || id != k.ID || k.AllowedIPs[1] != "198.51.100.7/32" {
		t.Errorf("key %+v", k)
	}
	if key.header.Get("Cache-Control") != "no-store" {
		t.Error("a key may be kept by caches")
	}
	secret := readAs[ClientSecret](t, c.send("POST", "/api/v1/applications/"+app.Status.ID+"/secret", "", "").want(t, http.StatusCreated))
	if id, ok := access.ParseKey(access.ClientSecret, secret.ClientSecret); !ok || id != app.Status.ID || secret.ClientID != id {
		t.Errorf("secret %+v", secret)
	}
	kept := r.server.access.Snapshot()
	if !kept.Key(k.ID).Matches(k.Key, nil) || !kept.Application(app.Status.ID).SecretMatches(secret.ClientSecret) {
		t.Error("what was shown is not what is stored")
	}
	// Shown once: nothing that can be read later holds them.
	for _, path := range []string{"/applications", "/applications/trader", "/applications/trader/keys", "/applications/trader/keys/" + k.ID, "/subscriptions",
		"/export?kinds=Application,Subscription,Plan,API"} {
		a := r.as("admin").send("GET", "/api/v1"+path, "", "").want(t, http.StatusOK)
		for _, secret := range []string{k.Key[17:], secret.ClientSecret[17:]} {
			if strings.Contains(string(a.body), secret) {
				t.Errorf("%s tells a secret", path)
			}
		}
	}
	app = readAs[ApplicationDefinition](t, c.send("GET", "/api/v1/applications/trader", "", "").want(t, http.StatusOK))
	if app.Status.Keys != 1 || app.Status.Subscriptions != 1 || !app.Status.Secret {
		t.Errorf("status %+v", app.Status)
	}
	// Revoked for good, then gone.
	path := key.header.Get("Location")
	c.send("PUT", path, mediaJSON, `{"state":"REVOKED"}`).problem(t, http.StatusPreconditionRequired, "precondition-required")
	c.send("PUT", path, mediaJSON, `{"state":"REVOKED"}`, "If-Match", `"1"`).problem(t, http.StatusPreconditionFailed, "version-mismatch")
	c.send("PUT", path, mediaJSON, `{"name":"desk","state":"REVOKED"}`, "If-Match", key.header.Get("ETag")).want(t, http.StatusOK)
	p := c.send("PUT", path, mediaJSON, `{"state":"ACTIVE"}`, "If-Match", "*").problem(t, http.StatusUnprocessableEntity, "immutable-field")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/state" || p.Errors[0].Column == 0 {
		t.Errorf("problem %+v", p)
	}
	c.send("DELETE", path, "", "", "If-Match", "*").want(t, http.StatusNoContent)
	c.send("GET", path, "", "").problem(t, http.StatusNotFound, "not-found")
	c.send("DELETE", "/api/v1/applications/trader", "", "", "If-Match", "*").want(t, http.StatusNoContent)
	c.send("GET", sub.header.Get("Location"), "", "").problem(t, http.StatusNotFound, "not-found")
}

// What others have is not there, whatever is done with it.
func TestOwnObjectsOnly(t *testing.T) {
	r := newRig(t)
	publishedAPI(t, r, "Market", "1.0.0", "AsyncGold")
	c, friend, admin := r.as("subscriber"), r.as("friend"), r.as("admin")
	app := newApp(t, c, "trader")
	sub := c.send("POST", "/api/v1/subscriptions", mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncGold")).want(t, http.StatusCreated).header.Get("Location")
	key := c.send("POST", "/api/v1/applications/trader/keys", "", "").want(t, http.StatusCreated).header.Get("Location")
	byID := "/api/v1/applications/" + app.Status.ID
	for _, op := range [][2]string{{"GET", byID}, {"PUT", byID}, {"DELETE", byID}, {"GET", "/api/v1/applications/trader"}, {"POST", byID + "/secret"},
		{"GET", byID + "/keys"}, {"POST", byID + "/keys"}, {"GET", key}, {"PUT", key}, {"DELETE", key}, {"GET", sub}, {"PUT", sub}, {"DELETE", sub}} {
		friend.send(op[0], op[1], "", "", "If-Match", "*").problem(t, http.StatusNotFound, "not-found")
	}
	friend.send("POST", "/api/v1/subscriptions", mediaJSON, subscribeBody(t, app.Status.ID, "Market", "1.0.0", "AsyncGold")).problem(t, 422, "unknown-application")
	friend.send("POST", "/api/v1/revocations", mediaJSON, `{"kind":"application","value":"`+app.Status.ID+`"}`).problem(t, 422, "unknown-application")
	for _, path := range []string{"/api/v1/applications", "/api/v1/subscriptions", "/api/v1/revocations"} {
		if n := decodeAs[struct{ Total int }](t, friend.send("GET", path, "", "").want(t, http.StatusOK).body).Total; n != 0 {
			t.Errorf("%s: a stranger sees %d", path, n)
		}
	}
	// Two owners may use one name; an administrator says which by the id.
	newApp(t, friend, "Trader")
	admin.send("GET", "/api/v1/applications/trader", "", "").problem(t, http.StatusConflict, "conflict")
	admin.send("GET", byID, "", "").want(t, http.StatusOK)
	c.send("GET", "/api/v1/applications/TRADER", "", "").want(t, http.StatusOK)
	// A publisher sees who has subscribed, and nothing of applications.
	if n := decodeAs[SubscriptionList](t, r.as("publisher").send("GET", "/api/v1/subscriptions?api=Market@1.0.0", "", "").want(t, 200).body).Total; n != 1 {
		t.Errorf("the publisher sees %d subscriptions", n)
	}
	r.as("publisher").send("GET", byID, "", "").problem(t, http.StatusForbidden, "forbidden")
}

func TestApplicationsAndPlansAreJudged(t *testing.T) {
	r := newRig(t)
	c, admin := r.as("subscriber"), r.as("admin")
	type bad struct {
		name, method, path, body string
		status                   int
		slug, pointer            string
	}
	app := func(meta, spec map[string]any) string { return resource(t, "Application", meta, spec) }
	newApp(t, c, "taken")
	for who, list := range map[*client][]bad{
		&c: {
			{"no name", "POST", "/applications", app(map[string]any{}, map[string]any{}), 422, "invalid-value", "/metadata/name"},
			{"bad name", "POST", "/applications", app(map[string]any{"name": "../x"}, map[string]any{}), 422, "invalid-name", "/metadata/name"},
			{"kind", "POST", "/applications", `{"apiVersion":"sluice/v1","kind":"Plan","metadata":{"name":"x"}}`, 422, "invalid-value", "/kind"},
			{"unknown field", "POST", "/applications", app(map[string]any{"name": "x"}, map[string]any{"clent": 1}), 400, "unknown-field", "/spec/clent"},
			{"another owner", "POST", "/applications", app(map[string]any{"name": "x", "owner": "friend"}, map[string]any{}), 403, "forbidden", "/metadata/owner"},
			{"clients", "POST", "/applications", app(map[string]any{"name": "x"}, map[string]any{"clients": []any{map[string]any{"issuer": "https://id", "id": "a"}}}), 403, "forbidden", "/spec/clients"},
			{"plan", "POST", "/applications", app(map[string]any{"name": "x"}, map[string]any{"plan": "AsyncGold"}), 403, "forbidden", "/spec/plan"},
			{"state", "POST", "/applications", app(map[string]any{"name": "x"}, map[string]any{"state": "BLOCKED"}), 403, "forbidden", "/spec/state"},
			{"twice", "POST", "/applications", app(map[string]any{"name": "Taken"}, map[string]any{}), 409, "application-exists", "/metadata/name"},
			{"key expired", "POST", "/applications/taken/keys", `{"expires":"2020-01-01T00:00:00Z"}`, 422, "invalid-value", "/expires"},
			{"key address", "POST", "/applications/taken/keys", `{"allowedIPs":["10.0.0.0/8","x"]}`, 422, "invalid-value", "/allowedIPs/1"},
			{"key origin", "POST", "/applications/taken/keys", `{"allowedOrigins":["*"]}`, 422, "invalid-value", "/allowedOrigins/0"},
			{"a token", "POST", "/revocations", `{"kind":"token","issuer":"https://id","value":"x"}`, 403, "forbidden", "/kind"},
		},
		&admin: {
			{"no unit", "POST", "/plans", resource(t, "Plan", map[string]any{"name": "x"}, map[string]any{"quota": map[string]any{"events": 1}}), 422, "invalid-value", "/spec/quota/unit"},
			{"negative", "POST", "/plans", resource(t, "Plan", map[string]any{"name": "x"}, map[string]any{"quota": map[string]any{"events": -1}}), 422, "invalid-value", "/spec/quota/events"},
			{"duration", "POST", "/plans", resource(t, "Plan", map[string]any{"name": "x"}, map[string]any{"maxDuration": "1s"}), 422, "invalid-value", "/spec/maxDuration"},
			{"rate", "POST", "/plans", resource(t, "Plan", map[string]any{"name": "x"}, map[string]any{"rate": map[string]any{"events": 1, "per": "1ms"}}), 422, "invalid-value", "/spec/rate/per"},
			{"exists", "POST", "/plans", resource(t, "Plan", map[string]any{"name": "AsyncGold"}, map[string]any{}), 409, "plan-exists", "/metadata/name"},
			{"renamed", "PUT", "/plans/AsyncGold", resource(t, "Plan", map[string]any{"name": "Gold"}, map[string]any{}), 422, "immutable-field", "/metadata/name"},
			{"unknown client plan", "POST", "/applications", app(map[string]any{"name": "x"}, map[string]any{"plan": "None"}), 422, "unknown-plan", "/spec/plan"},
			{"no issuer", "POST", "/revocations", `{"kind":"token","value":"x"}`, 422, "invalid-value", "/issuer"},
			{"no such app", "POST", "/denies", `{"kind":"application","value":"nothing"}`, 422, "unknown-application", "/value"},
			{"no such api", "POST", "/denies", `{"kind":"api","value":"nothing@1"}`, 422, "unknown-api", "/value"},
			{"no address", "POST", "/denies", `{"kind":"ip","value":"nothing"}`, 422, "invalid-value", "/value"},
			{"no subject", "POST", "/denies", `{"kind":"subject","value":"nothing"}`, 422, "invalid-value", "/value"},
		},
	} {
		for _, b := range list {
			t.Run(b.name, func(t *testing.T) {
				who := *who
				who.t = t
				p := who.send(b.method, "/api/v1"+b.path, mediaJSON, b.body, "If-Match", "*").problem(t, b.status, b.slug)
				if !slices.ContainsFunc(p.Errors, func(f Finding) bool { return f.Pointer == b.pointer && f.Line == 1 && f.Column > 0 }) {
					t.Errorf("errors %+v", p.Errors)
				}
			})
		}
	}
}

func TestPlansChangeAtOnceAndGoUnused(t *testing.T) {
	r := newRig(t)
	admin := r.as("admin")
	list := decodeAs[struct {
		Items []json.RawMessage
		Total int
	}](t, r.as("subscriber").send("GET", "/api/v1/plans", "", "").want(t, http.StatusOK).body)
	if list.Total != 4 {
		t.Fatalf("plans of a new server: %s", list.Items)
	}
	a := admin.send("POST", "/api/v1/plans", mediaYAML, `
apiVersion: sluice/v1
kind: Plan
metadata: {name: Trial, description: to try}
spec: {quota: {events: 10, unit: hour}, rate: {events: 5, per: 1s}, connections: {perSubscription: 1}, maxDuration: 1h, enforce: false}
`).want(t, http.StatusCreated)
	p := readAs[PlanDefinition](t, a)
	if p.Spec.Enforce || p.Spec.MaxDuration != time.Hour || p.Spec.Quota.Every != 1 || p.Spec.OnQuotaEnd != access.QuotaAuto || p.Spec.Rate.Per != time.Second {
		t.Errorf("plan %+v", p)
	}
	path, tag := a.header.Get("Location"), a.header.Get("ETag")
	r.as("creator").send("GET", path, "", "", "If-None-Match", tag).want(t, http.StatusNotModified)
	// What GET answers is what PUT takes, and changes nothing.
	same := admin.send("PUT", path+"?dryRun=true", mediaJSON, string(a.body), "If-Match", tag).want(t, http.StatusOK)
	if plan := decodeAs[AccessPlanned](t, same.body); len(plan.Diff) != 0 {
		t.Errorf("diff %s", same.body)
	}
	p.Spec.Quota.Events = 20
	changed := admin.send("PUT", path+"?dryRun=true", mediaJSON, strings.Replace(string(a.body), `"events":10`, `"events":20`, 1), "If-Match", tag).want(t, http.StatusOK)
	if plan := decodeAs[AccessPlanned](t, changed.body); len(plan.Diff) != 1 || plan.Diff[0].Pointer != "/spec/quota/events" {
		t.Errorf("diff %s", changed.body)
	}
	// An API offers only plans that there are, and a plan that it offers stays.
	r.as("creator").send("POST", "/api/v1/apis", mediaJSON, body(t, withPlans(t, "Lost", "Nothing"))).problem(t, 422, "unknown-plan")
	create(t, r.as("creator"), "Found", func(d map[string]any) { put(t, d, "/spec/plans", []any{"Trial"}) })
	refused := admin.send("DELETE", path, "", "", "If-Match", "*")
	if refused.problem(t, http.StatusConflict, "plan-in-use"); !strings.Contains(string(refused.body), "offered by Found@1.0.0.") {
		t.Errorf("refused with %s", refused.body)
	}
	r.as("creator").send("DELETE", "/api/v1/apis/Found@1.0.0", "", "", "If-Match", "*").want(t, http.StatusNoContent)
	admin.send("DELETE", path+"?dryRun=true", "", "", "If-Match", tag).want(t, http.StatusOK)
	admin.send("DELETE", path, "", "", "If-Match", tag).want(t, http.StatusNoContent)
	admin.send("GET", path, "", "").problem(t, http.StatusNotFound, "not-found")
}

func withPlans(t *testing.T, name string, plans ...any) map[string]any {
	d := anAPI(name)
	put(t, d, "/spec/plans", plans)
	return d
}

func TestSubscriptionsHaveTwoSides(t *testing.T) {
	r := newRig(t)
	c, publisher, admin := r.as("subscriber"), r.as("publisher"), r.as("admin")
	admin.send("POST", "/api/v1/plans", mediaJSON, resource(t, "Plan", map[string]any{"name": "Asked"}, map[string]any{"requiresApproval": true})).want(t, http.StatusCreated)
	publishedAPI(t, r, "Market", "1.0.0", "AsyncGold", "Asked")
	path, _ := create(t, r.as("both"), "Draft", func(d map[string]any) { put(t, d, "/spec/plans", []any{"AsyncGold"}) })
	newApp(t, c, "trader")
	post := func(who client, text string) answered {
		return who.send("POST", "/api/v1/subscriptions", mediaJSON, text)
	}

	post(c, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncBronze")).problem(t, 422, "unknown-plan")
	post(c, subscribeBody(t, "trader", "Market", "9.9.9", "AsyncGold")).problem(t, 422, "unknown-api")
	post(c, subscribeBody(t, "trader", "Draft", "1.0.0", "AsyncGold")).problem(t, 422, "unknown-api") // not there for a subscriber
	post(admin, subscribeBody(t, "trader", "Draft", "1.0.0", "AsyncGold")).problem(t, 409, "not-published")
	r.as("both").send("POST", path+"/lifecycle", mediaJSON, `{"action":"prototype"}`).want(t, http.StatusOK)
	post(c, subscribeBody(t, "trader", "Draft", "1.0.0", "AsyncGold")).problem(t, 409, "not-published")
	post(c, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncGold", "state", "BLOCKED")).problem(t, 403, "forbidden")
	post(c, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncGold", "topics", []any{"ticks"})).problem(t, 422, "invalid-value")

	// A plan that asks for approval holds the subscription until a publisher lets it in.
	a := post(c, subscribeBody(t, "trader", "Market", "1.0.0", "Asked")).want(t, http.StatusCreated)
	sub := a.header.Get("Location")
	state := func(want access.SubState) {
		t.Helper()
		if d := readAs[SubscriptionDefinition](t, c.send("GET", sub, "", "").want(t, http.StatusOK)); d.Spec.State != want {
			t.Errorf("state %s, want %s", d.Spec.State, want)
		}
	}
	state(access.SubOnHold)
	post(c, subscribeBody(t, "trader", "Market", "1.0.0", "Asked")).problem(t, 409, "subscription-exists")
	c.send("PUT", sub, mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "Asked", "state", "UNBLOCKED"), "If-Match", "*").problem(t, 403, "forbidden")
	publisher.send("PUT", sub, mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "Asked", "state", "UNBLOCKED"), "If-Match", "*").want(t, http.StatusOK)
	state(access.SubUnblocked)

	// Plan and topics are the subscriber's; a change to another application or API is a new subscription.
	publisher.send("PUT", sub, mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncGold"), "If-Match", "*").problem(t, 403, "forbidden")
	c.send("PUT", sub, mediaJSON, subscribeBody(t, "trader", "Draft", "1.0.0", "AsyncGold"), "If-Match", "*").problem(t, 422, "immutable-field")
	c.send("PUT", sub, mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncBronze"), "If-Match", "*").problem(t, 422, "unknown-plan")
	c.send("PUT", sub, mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncGold", "topics", []any{"/ticks"}), "If-Match", "*").want(t, http.StatusOK)
	state(access.SubUnblocked)
	c.send("PUT", sub, mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "Asked"), "If-Match", "*").want(t, http.StatusOK)
	state(access.SubOnHold) // back to the plan that asks

	// What a publisher blocked its subscriber cannot take away to begin anew.
	publisher.send("POST", sub+"/state", mediaJSON, `{"state":"BLOCKED"}`).want(t, http.StatusOK)
	c.send("POST", sub+"/state", mediaJSON, `{"state":"UNBLOCKED"}`).problem(t, 403, "forbidden")
	c.send("DELETE", sub, "", "", "If-Match", "*").problem(t, 403, "forbidden")
	publisher.send("POST", sub+"/state", mediaJSON, `{"state":"UNBLOCKED"}`, "If-Match", `"1"`).problem(t, 412, "version-mismatch")
	publisher.send("DELETE", sub+"?dryRun=true", "", "", "If-Match", "*").want(t, http.StatusOK)
	publisher.send("POST", sub+"/state", mediaJSON, `{"state":"UNBLOCKED"}`).want(t, http.StatusOK)
	c.send("DELETE", sub+"?dryRun=true", "", "", "If-Match", "*").want(t, http.StatusOK)
	c.send("DELETE", sub, "", "", "If-Match", "*").want(t, http.StatusNoContent)
}

func TestAPIsAndTheirSubscriptions(t *testing.T) {
	r := newRig(t)
	c, both := r.as("subscriber"), r.as("both")
	publishedAPI(t, r, "Market", "1.0.0", "AsyncGold", "AsyncBronze")
	for i, plan := range []string{"AsyncGold", "AsyncBronze"} {
		name := fmt.Sprint("app", i)
		newApp(t, c, name)
		c.send("POST", "/api/v1/subscriptions", mediaJSON, subscribeBody(t, name, "Market", "1.0.0", plan)).want(t, http.StatusCreated)
	}
	// A new version gets the subscribers, if its publisher does not ask them anew.
	both.send("POST", "/api/v1/apis/Market@1.0.0/versions", mediaJSON, `{"version":"2.0.0"}`).want(t, http.StatusCreated)
	both.send("POST", "/api/v1/apis/Market@1.0.0/versions", mediaJSON, `{"version":"3.0.0"}`).want(t, http.StatusCreated)
	two := apiOf(t, both.send("GET", "/api/v1/apis/Market@2.0.0", "", ""))
	two.Spec.Plans, two.Status = []string{"AsyncGold"}, nil
	text, err := (&upload{}).over(two)
	if err != nil {
		t.Fatal(err)
	}
	both.send("PUT", "/api/v1/apis/Market@2.0.0", mediaJSON, string(text.Data), "If-Match", "*").want(t, http.StatusOK)
	both.send("POST", "/api/v1/apis/Market@3.0.0/lifecycle", mediaJSON, `{"action":"publish"}`).want(t, http.StatusOK)
	both.send("POST", "/api/v1/apis/Market@2.0.0/lifecycle", mediaJSON, `{"action":"publish","requireResubscription":false}`).want(t, http.StatusOK)
	subs := func(api string) (plans []string) {
		for _, s := range readAs[SubscriptionList](t, c.send("GET", "/api/v1/subscriptions?api="+api, "", "").want(t, http.StatusOK)).Items {
			plans = append(plans, s.Spec.Plan)
		}
		return plans
	}
	if got := subs("Market@2.0.0"); !slices.Equal(got, []string{"AsyncGold", "AsyncGold"}) {
		t.Errorf("carried: %v", got)
	}
	if got := subs("Market@3.0.0"); got != nil {
		t.Errorf("carried without being asked: %v", got)
	}
	// Deprecated: what is there goes on, nobody new comes.
	both.send("POST", "/api/v1/apis/Market@1.0.0/lifecycle", mediaJSON, `{"action":"deprecate"}`).want(t, http.StatusOK)
	newApp(t, c, "late")
	c.send("POST", "/api/v1/subscriptions", mediaJSON, subscribeBody(t, "late", "Market", "1.0.0", "AsyncGold")).problem(t, 409, "api-deprecated")
	both.send("POST", "/api/v1/apis/Market@1.0.0/lifecycle", mediaJSON, `{"action":"retire"}`).want(t, http.StatusOK)
	// It goes only with its subscriptions.
	both.send("DELETE", "/api/v1/apis/Market@1.0.0", "", "", "If-Match", "*").problem(t, 409, "has-subscriptions")
	both.send("DELETE", "/api/v1/apis/Market@1.0.0?cascade=true&dryRun=true", "", "", "If-Match", "*").want(t, http.StatusOK)
	if got := subs("Market@1.0.0"); len(got) != 2 {
		t.Errorf("a dry run took %v", got)
	}
	both.send("DELETE", "/api/v1/apis/Market@1.0.0?cascade=true", "", "", "If-Match", "*").want(t, http.StatusNoContent)
	if got := subs("Market@1.0.0"); got != nil {
		t.Errorf("left behind: %v", got)
	}
	if got := subs("Market@2.0.0"); len(got) != 2 {
		t.Errorf("another version lost subscriptions: %v", got)
	}
}

func TestDeniesAndRevocations(t *testing.T) {
	r := newRig(t)
	c, publisher, admin := r.as("subscriber"), r.as("publisher"), r.as("admin")
	app := newApp(t, c, "trader")
	a := publisher.send("POST", "/api/v1/denies", mediaJSON, `{"kind":"ip","value":"192.0.2.7","reason":"scraping","until":"2099-01-01T00:00:00Z"}`).want(t, http.StatusCreated)
	d := readAs[Deny](t, a)
	if d.Value != "192.0.2.7/32" || d.By != "publisher" || d.Until.Year() != 2099 {
		t.Errorf("deny %+v", d)
	}
	publisher.send("POST", "/api/v1/denies", mediaJSON, `{"kind":"ip","value":"192.0.2.7/32"}`).problem(t, 409, "deny-exists")
	publisher.send("POST", "/api/v1/denies", mediaJSON, `{"kind":"application","value":"trader"}`).want(t, http.StatusCreated)
	list := readAs[DenyList](t, publisher.send("GET", "/api/v1/denies?limit=1", "", "").want(t, http.StatusOK))
	if list.Total != 2 || list.Items[0].Value != app.Status.ID || list.NextCursor == "" {
		t.Errorf("denies %+v", list)
	}
	publisher.send("DELETE", a.header.Get("Location"), "", "", "If-Match", a.header.Get("ETag")).want(t, http.StatusNoContent)
	publisher.send("GET", a.header.Get("Location"), "", "").problem(t, 404, "not-found")

	v := readAs[Revocation](t, c.send("POST", "/api/v1/revocations", mediaJSON, `{"kind":"application","value":"trader","reason":"lost","hard":true}`).want(t, http.StatusCreated))
	if v.Value != app.Status.ID || v.By != "subscriber" || !v.Hard || v.Until.Before(v.Before.Add(30*24*time.Hour)) {
		t.Errorf("revocation %+v", v)
	}
	admin.send("POST", "/api/v1/revocations", mediaJSON, `{"kind":"token","issuer":"https://id.example","value":"jti 1"}`).want(t, http.StatusCreated)
	admin.send("POST", "/api/v1/revocations", mediaJSON, `{"kind":"subject","issuer":"https://id.example","value":"kim"}`).want(t, http.StatusCreated)
	admin.send("POST", "/api/v1/revocations", mediaJSON, `{"kind":"issuer","issuer":"https://id.example"}`).want(t, http.StatusCreated)
	all := readAs[RevocationList](t, admin.send("GET", "/api/v1/revocations", "", "").want(t, http.StatusOK))
	if all.Total != 4 {
		t.Errorf("revocations %+v", all)
	}
	if own := readAs[RevocationList](t, c.send("GET", "/api/v1/revocations", "", "").want(t, http.StatusOK)); own.Total != 1 {
		t.Errorf("a subscriber sees %+v", own)
	}
	p := &access.Principal{Kind: access.Token, Issuer: "https://id.example", TokenID: "jti 1", Issued: time.Now().Add(-time.Minute)}
	if v := r.server.access.Snapshot().Revoked(p); v == nil || v.Kind != access.RevokeToken {
		t.Errorf("the token still counts: %+v", v)
	}
}

func TestTicketsAreForWhoMayRead(t *testing.T) {
	r := newRig(t)
	c, friend, creator := r.as("subscriber"), r.as("friend"), r.as("creator")
	create(t, creator, "Draft", nil)
	publishedAPI(t, r, "Later", "1.0.0", "AsyncGold")
	publishedAPI(t, r, "Market", "1.0.0", "AsyncGold")
	ticket := func(who client, api, body string) answered {
		return who.send("POST", "/api/v1/apis/"+api+"/tickets", mediaJSON, body)
	}
	made := readAs[TicketMade](t, ticket(creator, "Later@1.0.0", `{"topic":"/ticks"}`).want(t, http.StatusCreated))
	if left := time.Until(made.Expires); left <= 0 || left > 31*time.Second || made.Ticket == "" {
		t.Errorf("ticket %+v", made)
	}
	ticket(c, "Draft@1.0.0", `{"topic":"/ticks"}`).problem(t, 404, "not-found")
	ticket(creator, "Later@1.0.0", `{"topic":"ticks"}`).problem(t, 422, "invalid-value")
	ticket(creator, "Draft@1.0.0", `{"topic":"/ticks"}`).problem(t, 409, "not-published") // an edge would not take it
	ticket(c, "Market@1.0.0", `{"topic":"/ticks"}`).problem(t, 403, "not-subscribed")
	newApp(t, c, "trader")
	sub := c.send("POST", "/api/v1/subscriptions", mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncGold")).want(t, http.StatusCreated).header.Get("Location")
	ticket(c, "Market@1.0.0", `{"topic":"/ticks"}`).want(t, http.StatusCreated)
	ticket(c, "Market@1.0.0", `{"topic":"/ticks","application":"trader"}`).want(t, http.StatusCreated)
	ticket(friend, "Market@1.0.0", `{"topic":"/ticks","application":"trader"}`).problem(t, 422, "unknown-application")
	r.as("publisher").send("POST", sub+"/state", mediaJSON, `{"state":"ON_HOLD"}`).want(t, http.StatusOK)
	ticket(c, "Market@1.0.0", `{"topic":"/ticks","application":"trader"}`).problem(t, 403, "not-subscribed")
}

const accessBundleText = `
apiVersion: sluice/v1
kind: Subscription
spec: {application: trader, api: Market, version: 1.0.0, plan: Trial, topics: [/ticks]}
---
apiVersion: sluice/v1
kind: Application
metadata: {name: trader, displayName: The trader}
---
apiVersion: sluice/v1
kind: API
metadata: {name: Market}
spec: {context: /market, version: 1.0.0, endpoint: "http://127.0.0.1:8090", topics: [{name: /ticks}], plans: [Trial], state: PUBLISHED}
---
apiVersion: sluice/v1
kind: Plan
metadata: {name: Trial}
spec: {quota: {events: 10, unit: hour}}
`

func TestABundleHoldsAllKinds(t *testing.T) {
	r := newRig(t)
	admin := r.as("admin")
	apply := func(query, text string) Applied {
		t.Helper()
		return decodeAs[Applied](t, admin.send("POST", "/api/v1/apply"+query, mediaYAML, text).want(t, http.StatusOK).body)
	}
	results := func(a Applied) (out []string) {
		for _, one := range a.Results {
			out = append(out, strings.TrimSpace(string(one.Kind)+" "+one.ID+" "+string(one.Result)))
			if one.Problem.Type != "" && one.Problem.Type != "/problems/api-live" {
				t.Errorf("%s: %+v", one.ID, one.Problem)
			}
		}
		return out
	}
	want := []string{"Plan Trial created", "Market@1.0.0 created", "Application trader created", "Subscription trader/Market@1.0.0 created"}
	if got := results(apply("?dryRun=true", accessBundleText)); !slices.Equal(got, want) {
		t.Errorf("dry run: %q", got)
	}
	if r.server.access.Snapshot().Plan("Trial") != nil {
		t.Error("a dry run made a plan")
	}
	// One wrong document, and nothing is written.
	p := admin.send("POST", "/api/v1/apply", mediaYAML, strings.Replace(accessBundleText, "unit: hour", "unit: week", 1)).problem(t, 422, "invalid-value")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/spec/quota/unit" || p.Errors[0].Line != 18 {
		t.Errorf("problem %+v", p)
	}
	admin.send("POST", "/api/v1/apply", mediaYAML, strings.Replace(accessBundleText, "context: /market", "context: /admin", 1)).problem(t, 422, "reserved-context")
	if s := r.server.access.Snapshot(); s.Plan("Trial") != nil || len(s.Records().Applications) > 0 {
		t.Error("a wrong bundle wrote something")
	}
	if got := results(apply("?set=demo", accessBundleText)); !slices.Equal(got, want) {
		t.Errorf("first: %q", got)
	}
	same := []string{"Plan Trial unchanged", "Market@1.0.0 unchanged", "Application trader unchanged", "Subscription trader/Market@1.0.0 unchanged"}
	if got := results(apply("?set=demo", accessBundleText)); !slices.Equal(got, same) {
		t.Errorf("again: %q", got)
	}
	// What is exported is what apply takes.
	out := admin.send("GET", "/api/v1/export?kinds=Plan,API,Application,Subscription", "", "").want(t, http.StatusOK)
	got := results(apply("?set=demo", string(out.body)))
	if len(got) != 8 || slices.ContainsFunc(got, func(s string) bool { return !strings.HasSuffix(s, " unchanged") }) {
		t.Errorf("export applied: %q\n%s", got, out.body)
	}
	if text := string(r.as("subscriber").send("GET", "/api/v1/export?kinds=Plan,API,Application,Subscription", "", "").want(t, http.StatusOK).body); strings.Contains(text, "kind: API") || strings.Contains(text, "trader") {
		t.Errorf("a subscriber exports\n%s", text)
	}
	// Changed, then pruned with what the set lacks, last kind first.
	changed := strings.Replace(accessBundleText, "events: 10", "events: 20", 1)
	if got := results(apply("?set=demo", changed)); got[0] != "Plan Trial configured" || got[3] != same[3] {
		t.Errorf("changed: %q", got)
	}
	onlyPlan := changed[strings.LastIndex(changed, "---"):]
	gone := results(apply("?set=demo&prune=true&dryRun=true", onlyPlan))
	if !slices.Contains(gone, "Subscription trader/Market@1.0.0 pruned") || !slices.Contains(gone, "Application trader pruned") {
		t.Errorf("prune: %q", gone)
	}
	// Roles are asked of each kind.
	r.as("subscriber").send("POST", "/api/v1/apply", mediaYAML, accessBundleText).problem(t, 403, "forbidden")
	r.as("creator").send("POST", "/api/v1/apply", mediaYAML, onlyPlan).problem(t, 403, "forbidden")
	mine := "apiVersion: sluice/v1\nkind: Application\nmetadata: {name: mine}\n---\n" + strings.Replace(accessBundleText[:strings.Index(accessBundleText, "---")], "trader", "mine", 1)
	got = results(decodeAs[Applied](t, r.as("subscriber").send("POST", "/api/v1/apply", mediaYAML, mine).want(t, http.StatusOK).body))
	if !slices.Equal(got, []string{"Application mine created", "Subscription mine/Market@1.0.0 created"}) {
		t.Errorf("a subscriber's bundle: %q", got)
	}
}

func TestWhatADeveloperReads(t *testing.T) {
	r := newRig(t)
	r.server.options.Public = nil
	path, _ := create(t, r.as("both"), "Market", func(d map[string]any) {
		put(t, d, "/spec/plans", []any{"AsyncGold"})
		put(t, d, "/spec/endpoint", "http://canary.internal:8090")
		put(t, d, "/spec/topics", []any{map[string]any{"name": "/quotes/{symbol}", "backend": "/canary/{symbol}", "params": map[string]any{"symbol": map[string]any{"examples": []any{"ACME"}}}},
			map[string]any{"name": "/open/*", "security": "none"}})
	})
	r.as("both").send("POST", path+"/lifecycle", mediaJSON, `{"action":"publish"}`).want(t, http.StatusOK)
	c := r.as("subscriber")
	dev := "/api/v1/dev/apis/Market@1.0.0"
	for _, below := range []string{"", "/topics", "/plans", "/asyncapi", "/snippets", "/snippets?topic=/open/*"} {
		a := c.send("GET", dev+below, "", "").want(t, http.StatusOK)
		if strings.Contains(string(a.body), "canary") {
			t.Errorf("%s tells the endpoint: %s", below, a.body)
		}
	}
	s := decodeAs[SnippetList](t, c.send("GET", dev+"/snippets", "", "").want(t, http.StatusOK).body)
	if s.Total != 6 || s.URL != "/market/1.0.0/quotes/ACME" || s.Topic != "/quotes/{symbol}" {
		t.Errorf("snippets %+v", s)
	}
	for _, one := range s.Items {
		if strings.Contains(one.Code, "@") && one.Lang != "java" || !strings.Contains(one.Code, s.URL) {
			t.Errorf("%s:\n%s", one.Lang, one.Code)
		}
		if needs := strings.Contains(one.Code, "SLUICE_KEY") || strings.Contains(one.Code, "ticket"); !needs {
			t.Errorf("%s sends no credential", one.Lang)
		}
	}
	open := decodeAs[SnippetList](t, c.send("GET", dev+"/snippets?topic=/open/*&lang=python", "", "").want(t, http.StatusOK).body)
	if open.Total != 1 || open.URL != "/market/1.0.0/open/PATH" || strings.Contains(open.Items[0].Code, "SLUICE_KEY") {
		t.Errorf("open %+v", open)
	}
	c.send("GET", dev+"/snippets?topic=/nothing", "", "").problem(t, 404, "not-found")
	c.send("GET", dev+"/snippets?lang=cobol", "", "").problem(t, 400, "invalid-query")
}

// What somebody edited since a bundle was applied is not undone by it, but for its state, and not without force.
func TestABundleDoesNotUndoEdits(t *testing.T) {
	r := newRig(t)
	admin := r.as("admin")
	apply := func(query, text string) map[string]ApplyResult {
		t.Helper()
		out := map[string]ApplyResult{}
		for _, one := range decodeAs[Applied](t, admin.send("POST", "/api/v1/apply"+query, mediaYAML, text).want(t, http.StatusOK).body).Results {
			out[string(one.Kind)] = one
		}
		return out
	}
	apply("", accessBundleText)
	put := func(path, doc string) {
		t.Helper()
		admin.send("PUT", path, mediaJSON, doc, "If-Match", "*").want(t, http.StatusOK)
	}
	snap := r.server.access.Snapshot()
	grant := snap.Records().Grants[0]
	app, sub := "/api/v1/applications/"+grant.Application, "/api/v1/subscriptions/"+grant.ID
	results := func(got map[string]ApplyResult) string {
		return fmt.Sprint(got["Plan"].Result, " ", got["Application"].Result, " ", got["Subscription"].Result)
	}

	// A secret and a state are no edits of what a bundle says.
	admin.send("POST", app+"/secret", mediaJSON, "").want(t, http.StatusCreated)
	admin.send("POST", sub+"/state", mediaJSON, `{"state":"BLOCKED"}`).want(t, http.StatusOK)
	put(app, resource(t, "Application", map[string]any{"name": "trader", "displayName": "The trader"}, map[string]any{"state": "BLOCKED"}))
	if got := results(apply("", accessBundleText)); got != "unchanged unchanged unchanged" {
		t.Errorf("secret and states: %s", got)
	}

	put("/api/v1/plans/Trial", resource(t, "Plan", map[string]any{"name": "Trial"}, map[string]any{"quota": map[string]any{"events": 99, "unit": "hour"}}))
	put(app, resource(t, "Application", map[string]any{"name": "trader", "displayName": "Her trader"}, map[string]any{}))
	put(sub, subscribeBody(t, "trader", "Market", "1.0.0", "Trial", "topics", []any{"/ticks", "/other"}))
	for _, query := range []string{"?dryRun=true", ""} {
		got := apply(query, accessBundleText)
		if results(got) != "refused refused refused" {
			t.Errorf("edited%s: %s", query, results(got))
		}
		for kind, pointer := range map[string]string{"Plan": "/spec/quota/events", "Application": "/metadata/displayName", "Subscription": "/spec/topics"} {
			p := got[kind].Problem
			if p.Type != "/problems/changed-elsewhere" || p.Status != http.StatusConflict || len(p.Diff) == 0 || !strings.HasPrefix(p.Diff[0].Pointer, pointer) {
				t.Errorf("%s: %+v", kind, p)
			}
		}
	}
	if got := r.server.access.Snapshot().Plan("Trial").Quota.Events; got != 99 {
		t.Errorf("%d events: a refused bundle wrote", got)
	}
	if got := results(apply("?force=true", accessBundleText)); got != "configured configured configured" {
		t.Errorf("forced: %s", got)
	}
	if got := results(apply("", accessBundleText)); got != "unchanged unchanged unchanged" {
		t.Errorf("again: %s", got)
	}
	// An edit that is what the bundle says now is none that it undoes, and what is made by hand is nobody's.
	changed := strings.Replace(accessBundleText, "events: 10", "events: 11", 1)
	put("/api/v1/plans/Trial", resource(t, "Plan", map[string]any{"name": "Trial"}, map[string]any{"quota": map[string]any{"events": 11, "unit": "hour"}}))
	if got := results(apply("", changed)); got != "unchanged unchanged unchanged" {
		t.Errorf("the same edit: %s", got)
	}
	if got := results(apply("", accessBundleText)); got != "configured unchanged unchanged" {
		t.Errorf("after it: %s", got)
	}
	byHand := resource(t, "Plan", map[string]any{"name": "Hand"}, map[string]any{"quota": map[string]any{"events": 1, "unit": "hour"}})
	admin.send("POST", "/api/v1/plans", mediaJSON, byHand).want(t, http.StatusCreated)
	if got := apply("", strings.Replace(byHand, `"events":1`, `"events":2`, 1)); got["Plan"].Result != "configured" {
		t.Errorf("made by hand: %+v", got["Plan"])
	}
}
