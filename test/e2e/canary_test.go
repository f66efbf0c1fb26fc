package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/test/collector"
	"sluice/test/gateway"
)

// canaries hands out secrets, each under the name of where it is put in.
type canaries struct{ by map[string]string }

// in returns a new secret for an input.
func (c *canaries) in(where string) string {
	if c.by == nil {
		c.by = map[string]string{}
	}
	s := fmt.Sprintf("Kn4ry%02dq7Zx%02dWv", len(c.by)+10, 99-len(c.by))
	c.by[where] = s
	return s
}

// search fails the test for every secret that is in text.
func (c *canaries) search(t *testing.T, where string, text []byte) {
	t.Helper()
	for name, s := range c.by {
		if at := bytes.Index(text, []byte(s)); at >= 0 {
			t.Errorf("%s holds the secret of %s: …%.120q", where, name, text[max(0, at-60):])
		}
	}
}

// textOf is a text field of the JSON object that an answer ends in, "" if it is not there.
func textOf(answer []byte, field string) string {
	answer = bytes.TrimSpace(answer)
	var out map[string]any
	if json.Unmarshal(answer[bytes.LastIndexByte(answer, '\n')+1:], &out) != nil {
		return ""
	}
	text, _ := out[field].(string)
	return text
}

// TestNoSecretComesOut puts a secret into every input of a gateway, then looks for them in all that comes out of it: answers, the log
// at its most talkative, metrics, status pages, traces, and the files in its data folder.
func TestNoSecretComesOut(t *testing.T) {
	t.Parallel()
	var c canaries
	col := collector.New(t)
	password, upstream := c.in("the administrator's password"), c.in("an upstream's credential")
	var reached atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+upstream {
			reached.Add(1)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: x\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer backend.Close()
	g := gateway.New(t, gateway.Options{Manage: true, HTTPS: true, Env: append(col.Env(), "SLUICE_LOG_LEVEL=debug", "SLUICE_SECRET_CANARY="+upstream,
		"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20"+c.in("the collector's credential"))})
	defer g.Kill() // before the backend closes
	g.Write("admin-password", password+"\n")
	g.Start()
	client := gateway.OneShot()
	send := func(method, url, media, body string, header ...string) (int, []byte) {
		t.Helper()
		req, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if media != "" {
			req.Header.Set("Content-Type", media)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Add(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.Header.Get("Content-Type") == "text/event-stream" {
			return resp.StatusCode, nil
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, append(fmt.Appendf(nil, "%v\n", resp.Header), text...)
	}
	control := "http://" + g.Addrs["control"]
	login := func(name, password string) (token string) {
		t.Helper()
		code, text := send("POST", control+"/api/v1/login", "application/json", fmt.Sprintf(`{"name":%q,"password":%q}`, name, password))
		var s struct{ Token string }
		if _, body, ok := bytes.Cut(text, []byte("\n")); ok && code == http.StatusOK {
			if err := json.Unmarshal(body, &s); err != nil {
				t.Fatal(err)
			}
		}
		c.search(t, "the answer to a login", text) // before its token is a secret
		return s.Token
	}
	token := login("admin", password)
	if token == "" {
		t.Fatal("nobody can sign in")
	}
	c.by["a session"] = token
	auth := []string{"Authorization", "Bearer " + token}
	json, yaml := "application/json", "application/yaml"
	for _, q := range []struct {
		method, target, media, body string
		header                      []string
		want                        int
	}{
		{"POST", "/api/v1/users", json, `{"name":"kim","password":"` + c.in("a user's password") + `","roles":["creator"]}`, auth, 201},
		{"POST", "/api/v1/users", json, `{"name":"low","pasword":"` + c.in("a mistyped field") + `","roles":["creator"]}`, auth, 400},
		{"POST", "/api/v1/users", json, `{"name":"low","password":"` + c.in("a body that breaks off"), auth, 400},
		{"PUT", "/api/v1/me/password", json, `{"current":"` + c.in("a wrong current password") + `","password":"` + c.in("a new password") + `"}`, auth, 403},
		{"POST", "/api/v1/login", json, `{"name":"admin","password":"` + c.in("a wrong password") + `"}`, nil, 401},
		{"GET", "/api/v1/me", "", "", []string{"Authorization", "Bearer " + c.in("a bearer token of nobody")}, 401},
		{"GET", "/api/v1/me", "", "", []string{"Authorization", "Basic " + c.in("basic credentials")}, 401},
		{"GET", "/api/v1/me", "", "", append([]string{"Cookie", "sluice_admin=" + c.in("a cookie"), "ApiKey", c.in("an API key on control")}, auth...), 200},
		{"GET", "/api/v1/me?token=" + c.in("a query of control"), "", "", auth, 400},
		{"GET", "/" + c.in("a path of control"), "", "", auth, 404},
		{"POST", "/api/v1/apis", yaml, "apiVersion: sluice/v1\nkind: API\nmetadata: {name: bad}\nspec: {context: /bad, version: '1', endpoint: 'http://u:" + c.in("an endpoint's password") + "@h'}\n", auth, 422},
		{"POST", "/api/v1/apis", yaml, "apiVersion: sluice/v1\nkind: API\nmetadata: {name: bad}\nspec: {context: /bad, version: '1', upstream: {auth: {type: bearer, secret: '" + c.in("a secret instead of its name") + "'}}}\n", auth, 422},
		{"POST", "/api/v1/import/asyncapi?url=http%3A%2F%2Fu%3A" + c.in("an import's address") + "%40127.0.0.1%3A1%2F", "", "", auth, 502},
		{"POST", "/api/v1/import/asyncapi", yaml, "asyncapi: 2.6.0\ninfo: {title: a, version: '1'}\nchannels: {/t: {$ref: 'http://h/?k=" + c.in("a reference") + "'}}\n", auth, 422},
		{"POST", "/api/v1/import/wso2", yaml, "type: api\nversion: v4\ndata:\n  name: Imported\n  context: /imported\n  version: '1'\n  type: SSE\n  endpointConfig:\n    endpoint_type: http\n" +
			"    production_endpoints: {url: 'http://backend.invalid'}\n    endpoint_security: {production: {enabled: true, type: BASIC, username: u, password: '" + c.in("an imported project's password") + "'}}\n", auth, 201},
		{"POST", "/api/v1/apis", yaml, "apiVersion: sluice/v1\nkind: API\nmetadata: {name: line}\nspec:\n  context: /line\n  version: '1'\n  endpoint: '" + backend.URL +
			"'\n  state: PUBLISHED\n  upstream: {auth: {type: bearer, secret: canary}}\n  topics: [{name: /t, security: none}, {name: /closed}]\n  plans: [AsyncUnlimited]\n  auth: {schemes: [jwt, apiKey, ticket, cookie]}\n", auth, 201},
	} {
		code, text := send(q.method, control+q.target, q.media, q.body, q.header...)
		if code != q.want {
			t.Errorf("%s %s: %d, want %d: %s", q.method, q.target, code, q.want, text)
		}
		c.search(t, fmt.Sprintf("the answer to %s %.40s", q.method, q.target), text)
	}
	g.WaitFeed("/t", "up", func(s gateway.FeedStatus, there bool) bool { return there && s.State == "up" })
	if reached.Load() == 0 {
		t.Error("the upstream never got its credential")
	}
	edge := g.URL("")
	for _, q := range []struct {
		target string
		header []string
	}{
		{"/line/1/t?access_token=" + c.in("a token in a query"), nil},
		{"/line/1/closed?ticket=" + c.in("a ticket"), nil},
		{"/line/1/t?unknown=" + c.in("a query of the edge"), nil},
		{"/line/1/t?since=" + c.in("a bad query of the edge"), nil},
		{"/line/1/t?lastEventId=" + c.in("an id in a query"), nil},
		{"/line/1/closed", []string{"Authorization", "Bearer " + c.in("a bearer token on the edge")}},
		{"/line/1/closed", []string{"Authorization", "Basic " + c.in("basic credentials on the edge")}},
		{"/line/1/closed", []string{"ApiKey", c.in("an API key")}},
		{"/line/1/closed", []string{"X-API-Key", c.in("an API key by its other name")}},
		{"/line/1/t", []string{"Cookie", "__Host-sluice_stream=" + c.in("a stream cookie"), "X-Forwarded-For", c.in("a forged address")}},
		{"/line/1/t", []string{"Last-Event-ID", c.in("an id"), "Referer", "https://a.example/?k=" + c.in("a referrer"), "Proxy-Authorization", "Basic " + c.in("a proxy's credential")}},
		{"/line/1/t", []string{"Authorization", "Bearer a", "Authorization", "Bearer " + c.in("a second credential")}},
	} {
		_, text := send("GET", edge+q.target, "", "", q.header...)
		c.search(t, "the answer to "+q.target, text)
	}
	for _, q := range []struct{ target, media, body string }{
		{"/oauth2/token", "application/x-www-form-urlencoded", "grant_type=client_credentials&client_id=nobody&client_secret=" + c.in("a client's secret")},
		{"/oauth2/revoke", "application/x-www-form-urlencoded", "token=" + c.in("a token to revoke")},
		{"/oauth2/ticket", "application/json", `{"api":"line","version":"1","x":"` + c.in("an order for a ticket") + `"}`},
	} {
		_, text := send("POST", edge+q.target, q.media, q.body, "Authorization", "Bearer "+c.in("a credential for "+q.target))
		c.search(t, "the answer to "+q.target, text)
	}
	// What the gateway itself makes and shows once: an API key, a client's secret, a ticket.
	made := func(what, url, body, field string, header ...string) string {
		t.Helper()
		code, text := send("POST", url, json, body, header...)
		if code != http.StatusCreated {
			t.Fatalf("%s: %d %s", what, code, text)
		}
		secret := textOf(text, field)
		if len(secret) < 20 {
			t.Fatalf("%s: no %s in %s", what, field, text)
		}
		c.by[what] = secret
		return secret
	}
	code, text := send("POST", control+"/api/v1/applications", json, `{"apiVersion":"sluice/v1","kind":"Application","metadata":{"name":"app"}}`, auth...)
	if code != http.StatusCreated {
		t.Fatalf("application: %d %s", code, text)
	}
	code, text = send("POST", control+"/api/v1/subscriptions", json, `{"apiVersion":"sluice/v1","kind":"Subscription","spec":{"application":"app","api":"line","version":"1","plan":"AsyncUnlimited"}}`, auth...)
	if code != http.StatusCreated {
		t.Fatalf("subscription: %d %s", code, text)
	}
	key := made("a key that was made", control+"/api/v1/applications/app/keys", "{}", "key", auth...)
	made("a client secret that was made", control+"/api/v1/applications/app/secret", "", "clientSecret", auth...)
	ticket := made("a ticket that was sold", edge+"/oauth2/ticket", `{"api":"line","version":"1","topic":"/closed"}`, "ticket", "ApiKey", key)
	for _, head := range [][2]string{{"/line/1/closed", key}, {"/line/1/closed?ticket=" + ticket, ""}, {"/line/1/closed?ticket=" + ticket, ""}} {
		if _, text := send("HEAD", edge+head[0], "", "", "ApiKey", head[1]); len(text) > 0 {
			c.search(t, "the answer to HEAD", text)
		}
	}
	if c.by["a second session"] = login("kim", c.by["a user's password"]); c.by["a second session"] == "" {
		t.Error("the new user cannot sign in")
		delete(c.by, "a second session")
	}
	for _, path := range []string{"/metrics", "/feeds", "/status", "/readyz?verbose", "/version", "/debug/pprof/cmdline"} {
		_, text := g.Ops(path)
		c.search(t, path, text)
	}
	for _, path := range []string{"/api/v1/apis", "/api/v1/users", "/api/v1/export", "/api/v1/apis/line@1", "/api/v1/apis/line@1/asyncapi?profile=internal", "/api/v1/apis/Imported@1/export?format=wso2"} {
		_, text := send("GET", control+path, "", "", auth...)
		c.search(t, path, text)
	}
	col.Wait(t, "the edge's spans", func(s collector.Span) bool { return s.Name == "edge.connection" })
	g.Stop()
	c.search(t, "traces", []byte(col.Raw()))
	for _, e := range g.Log() {
		c.search(t, "the log", fmt.Appendf(nil, "%v", e))
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(g.Dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		c.search(t, path, text)
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("%d files of data, %v", files, err)
	}
}
