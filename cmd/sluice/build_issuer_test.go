package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/access/token"
)

const paidAPI = `apiVersion: sluice/v1
kind: API
metadata: {name: paid}
spec:
  context: /paid
  version: '1'
  endpoint: %s
  plans: [AsyncUnlimited]
  auth: {schemes: [jwt, apiKey, ticket, cookie]}
  cors: {origins: ['https://app.example.com'], credentials: true}
  scopes: [{name: read}]
  topics: [{name: /ticks, scopes: [read]}]
`

// From a client secret to a stream, on one process: a token, a ticket, a cookie, and the end of the token.
func TestFromASecretToAStream(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.Edge.HTTP.Addr, cfg.Edge.HTTPS.Addr, cfg.Control.Addr, cfg.Ops.Addr = "127.0.0.1:0", "127.0.0.1:0", "", ""
	cfg.Edge.HTTPS.DevTLS = true
	cfg.Edge.Drain.Delay, cfg.Fanout.Drain.Over = 0, 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := build(ctx, env{stdout: io.Discard, stderr: io.Discard, lookup: func(string) (string, bool) { return "", false }}, cfg, newGuard(cfg), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.shutdown(); err != nil {
			t.Error(err)
		}
	}()
	file := filepath.Join(cfg.Data, "secrets", "issuer.pem")
	if st, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	made, err := signingKeys(cfg)
	again, err2 := signingKeys(cfg)
	if err != nil || err2 != nil || !made[0].Equal(again[0]) {
		t.Error("the key is made anew")
	}

	w := catalog.Write{By: catalog.Actor{Name: "ann"}}
	if _, err := p.manager.Create(ctx, w, catalog.Source{Name: "a.yaml", Data: []byte(strings.Replace(paidAPI, "%s", ticking(t), 1))}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.manager.Lifecycle(ctx, w, "paid@1", catalog.Publish, catalog.LifecycleOptions{}); err != nil {
		t.Fatal(err)
	}
	by := access.Write{By: "ann"}
	app, err := p.access.CreateApplication(ctx, by, access.Application{Name: "one", Owner: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := p.access.MakeSecret(ctx, by, app.ID)
	if err != nil {
		t.Fatal(err)
	}
	plain, secure := "http://"+p.edge.Addrs()["edge-http"].String(), "https://"+p.edge.Addrs()["edge-https"].String()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	do := func(method, at string, body io.Reader, fields ...string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, at, body)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(fields); n += 2 {
			r.Header.Set(fields[n], fields[n+1])
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	form := func(path string, pairs ...string) *http.Response {
		t.Helper()
		v := url.Values{}
		for n := 0; n < len(pairs); n += 2 {
			v.Set(pairs[n], pairs[n+1])
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, plain+path, strings.NewReader(v.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(app.ID, secret)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	read := func(resp *http.Response) map[string]any {
		t.Helper()
		var out map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}

	if resp := form("/oauth2/token", "grant_type", "client_credentials", "scope", "read"); resp.StatusCode != 400 || read(resp)["error"] != "invalid_scope" {
		t.Errorf("a scope of an API that it did not subscribe to: %d", resp.StatusCode)
	}
	if _, err := p.access.CreateGrant(ctx, by, access.Grant{Application: app.ID, API: "paid", Version: "1", Plan: "AsyncUnlimited"}); err != nil {
		t.Fatal(err)
	}
	resp := form("/oauth2/token", "grant_type", "client_credentials", "scope", "read")
	if resp.StatusCode != 200 {
		t.Fatalf("%d %v", resp.StatusCode, read(resp))
	}
	bearer := "Bearer " + read(resp)["access_token"].(string)
	stream := do("GET", plain+"/paid/1/ticks", nil, "Authorization", bearer)
	if stream.StatusCode != 200 {
		t.Fatalf("the token: %d %v", stream.StatusCode, read(stream))
	}

	const order = `{"api":"paid","version":"1"}`
	resp = do("POST", secure+"/oauth2/ticket", strings.NewReader(order), "Authorization", bearer, "Content-Type", "application/json")
	if resp.StatusCode != 201 {
		t.Fatalf("a ticket: %d %v", resp.StatusCode, read(resp))
	}
	at := secure + "/paid/1/ticks?ticket=" + read(resp)["ticket"].(string)
	if resp := do("GET", at, nil, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != 200 || len(resp.Cookies()) != 1 || resp.Cookies()[0].Name != token.CookieName {
		t.Fatalf("the ticket: %d %v", resp.StatusCode, resp.Header)
	}
	if resp := do("GET", at, nil, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != 200 {
		t.Errorf("the spent ticket with its cookie: %d %v", resp.StatusCode, read(resp))
	}
	jar, client.Jar = nil, nil
	if resp := do("GET", at, nil, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != 401 || read(resp)["type"] != "/problems/invalid-ticket" {
		t.Errorf("the spent ticket alone: %d", resp.StatusCode)
	}
	resp = do("POST", secure+"/oauth2/cookie", strings.NewReader(order), "Authorization", bearer, "Content-Type", "application/json")
	if resp.StatusCode != 204 || len(resp.Cookies()) != 1 {
		t.Fatalf("a cookie: %d %v", resp.StatusCode, resp.Header)
	}
	if resp := do("GET", secure+"/paid/1/ticks", nil, "Sec-Fetch-Site", "same-origin", "Cookie", resp.Cookies()[0].String()); resp.StatusCode != 200 {
		t.Errorf("the cookie: %d %v", resp.StatusCode, read(resp))
	}
	if resp := do("POST", plain+"/oauth2/cookie", strings.NewReader(order), "Authorization", bearer, "Content-Type", "application/json"); resp.StatusCode != 403 {
		t.Errorf("a cookie over http: %d", resp.StatusCode)
	}
	if resp := do("POST", plain+"/oauth2/ticket", strings.NewReader(`{"api":"none","version":"1"}`), "Authorization", bearer, "Content-Type", "application/json"); resp.StatusCode != 404 {
		t.Errorf("a ticket for no API: %d", resp.StatusCode)
	}

	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/oauth-authorization-server"} {
		if resp := do("GET", plain+path, nil); resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
	if resp := do("GET", plain+"/oauth2/token", nil); resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("GET of a token: %d %v", resp.StatusCode, resp.Header)
	}
	if resp := do("POST", plain+"/oauth2/token", strings.NewReader(strings.Repeat("x", token.MaxBody+1))); resp.StatusCode != 413 {
		t.Errorf("a large body: %d", resp.StatusCode)
	}
	if resp := do("POST", plain+"/oauth2/token", io.MultiReader(strings.NewReader(strings.Repeat("x", token.MaxBody+1)))); resp.StatusCode != 413 {
		t.Errorf("a large body of unknown length: %d", resp.StatusCode)
	}
	for origin, want := range map[string]int{"https://app.example.com": 204, "https://evil.example.com": 403} {
		resp := do("OPTIONS", plain+"/oauth2/ticket", nil, "Origin", origin, "Access-Control-Request-Method", "POST")
		if resp.StatusCode != want || (resp.Header.Get("Access-Control-Allow-Origin") == origin) != (want == 204) {
			t.Errorf("a preflight of %s: %d %v", origin, resp.StatusCode, resp.Header)
		}
	}

	if resp := form("/oauth2/revoke", "token", strings.TrimPrefix(bearer, "Bearer ")); resp.StatusCode != 200 {
		t.Fatalf("revoke: %d", resp.StatusCode)
	}
	if rest, err := io.ReadAll(stream.Body); err != nil || !strings.Contains(string(rest), `"reason":"revoked"`) {
		t.Errorf("the open stream ended with %v %.300s", err, rest[max(0, len(rest)-300):])
	}
	if resp := do("GET", plain+"/paid/1/ticks", nil, "Authorization", bearer); resp.StatusCode != 401 || read(resp)["type"] != "/problems/invalid-token" {
		t.Errorf("the revoked token: %d", resp.StatusCode)
	}
}

// Each node makes a key of its own, once, unless the settings name a file: that must be there.
func TestSigningKeysAreMadeOnceOrShared(t *testing.T) {
	first, second := config.Default(), config.Default()
	first.Data, second.Data = t.TempDir(), t.TempDir()
	a, err := signingKeys(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := signingKeys(second)
	if err != nil {
		t.Fatal(err)
	}
	if a[0].Equal(b[0]) {
		t.Error("two nodes made the same key")
	}
	second.Auth.Issuer.KeyFile = filepath.Join(first.Data, "secrets", "issuer.pem")
	if b, err = signingKeys(second); err != nil || !a[0].Equal(b[0]) {
		t.Errorf("a shared file: %v", err)
	}
	second.Auth.Issuer.KeyFile = filepath.Join(first.Data, "none.pem")
	if _, err := signingKeys(second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there was made: %v", err)
	}
}
