package admin

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestNoOtherSiteChangesAnything sends every changing operation of the contract as another site's page would, with the credential of an
// administrator, and wants it refused before anything else is looked at.
func TestNoOtherSiteChangesAnything(t *testing.T) {
	r := newRig(t)
	admin := r.as("admin")
	fill := strings.NewReplacer("{id}", "nothing@1", "{n}", "1", "{name}", "nothing", "{slug}", "not-found", "{kind}", "API")
	before := admin.send("GET", "/api/v1/users", "", "").body
	changing := 0
	for _, op := range r.server.contract.ops {
		if op.method == http.MethodGet || op.method == http.MethodHead {
			continue
		}
		changing++
		target := fill.Replace(op.path)
		media, body := "", ""
		if len(op.takes) > 0 {
			media, body = op.takes[0], "{}"
		}
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
			{"Sec-Fetch-Site", "cross-site", "Origin", r.http.URL},
		} {
			p := admin.send(op.method, target, media, body, header...).problem(t, http.StatusForbidden, "cross-origin")
			if p.Detail != "" {
				t.Errorf("%s %s: %+v", op.method, target, p)
			}
		}
		if len(op.takes) == 0 {
			continue
		}
		for _, simple := range []string{"text/plain", "application/x-www-form-urlencoded", "text/plain; charset=utf-8; application/json"} { // what a page may send unasked
			if !slices.Contains(op.takes, simple) {
				admin.send(op.method, target, simple, "{}").problem(t, http.StatusUnsupportedMediaType, "unsupported-media-type")
			}
		}
	}
	if changing < 20 {
		t.Errorf("%d changing operations", changing)
	}
	if after := admin.send("GET", "/api/v1/users", "", "").body; string(after) != string(before) {
		t.Error("users changed")
	}
}

// TestGETChangesNothing calls every operation that only reads, and wants the records as before.
func TestGETChangesNothing(t *testing.T) {
	r := newRig(t)
	admin := r.as("admin")
	create(t, r.as("both"), "read", nil)
	fill := strings.NewReplacer("{id}", "read@1.0.0", "{n}", "1", "{name}", "read", "{slug}", "not-found", "{kind}", "API")
	rev := r.server.catalog.Rev()
	for _, op := range r.server.contract.ops {
		if op.method != http.MethodGet {
			continue
		}
		if op.def.RequestBody != nil {
			t.Errorf("GET %s takes a body", op.path)
		}
		if strings.HasSuffix(op.path, "/watch") {
			continue // goes on until it is left
		}
		admin.send("GET", fill.Replace(op.path), "", "")
	}
	if now := r.server.catalog.Rev(); now != rev {
		t.Errorf("the catalog went from revision %d to %d", rev, now)
	}
}

// TestEveryAnswerHasTheSecurityHeaders looks at pages, documents and problems.
func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	r := newRig(t)
	for _, target := range []string{"/docs", "/openapi.yaml", "/version", "/problems/not-found", "/schemas/API.json", "/api/v1/me", "/api/v1/apis", "/nothing",
		"/metrics", "/debug/pprof/", "/livez", "/readyz", "/feeds"} {
		a := r.nobody().send("GET", target, "", "")
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "", "Strict-Transport-Security": "", "Server": ""} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q", target, name, got)
			}
		}
		policy := a.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", target, policy)
		}
		if strings.HasPrefix(target, "/metrics") || strings.HasPrefix(target, "/debug") || target == "/livez" || target == "/readyz" || target == "/feeds" {
			a.problem(t, http.StatusNotFound, "not-found")
		}
	}
}
