package main

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

// The verbs about who may read, against a running server.
func TestAccessVerbs(t *testing.T) {
	server := startLive(t)
	s := newShell(t, server.url(t, "control"))
	if code, _, notes := s.do(server.password+"\n", "login"); code != exitOK {
		t.Fatal(notes)
	}
	s.ok("create", "api", "market", "--context", "/market", "--version", "1.0.0", "--endpoint", "http://127.0.0.1:9", "--topic", "/ticks")
	s.fails(exitFailed, "/spec/plans", "set", "market@1.0.0", "plans=Nothing")
	s.ok("set", "market@1.0.0", "plans=AsyncGold")
	if out := s.ok("create", "app", "trader", "--description", "the desk"); out != "app trader created\n" {
		t.Errorf("create app says %q", out)
	}
	s.fails(exitFailed, "not published", "subscribe", "trader", "market@1.0.0", "--plan", "AsyncGold", "--dry-run")
	s.ok("publish", "market@1.0.0")

	// Plans.
	has(t, s.ok("create", "plan", "Trial", "--events", "5", "--unit", "minute", "--every", "2", "--rate", "3/1s", "--connections", "1", "--dry-run"), "plan Trial would be created", `"every":2`)
	s.ok("create", "plan", "Trial", "--events", "5", "--unit", "minute", "--every", "2", "--rate", "3/1s", "--connections", "1", "--count-only")
	has(t, s.ok("get", "plans"), "Trial", "5 per 2 minutes, only counted", "3 per 1s")
	has(t, s.ok("get", "plan", "Trial"), "kind: Plan", "enforce: false", "every: 2")
	s.fails(exitUsage, "--rate", "create", "plan", "x", "--rate", "often")
	s.fails(exitFailed, "/spec/quota/unit", "create", "plan", "x", "--events", "1", "--unit", "week")
	if out := s.ok("get", "plans", "-o", "name"); out != "AsyncBronze\nAsyncGold\nAsyncSilver\nAsyncUnlimited\nTrial\n" {
		t.Errorf("names %q", out)
	}

	// Applications, subscriptions, keys.
	s.fails(exitFailed, "Application exists", "create", "app", "trader")
	has(t, s.ok("subscribe", "trader", "market@1.0.0", "--topic", "/ticks", "--for", "24h"), "trader subscribed to market@1.0.0 by AsyncGold: UNBLOCKED")
	s.fails(exitFailed, "Subscription exists", "subscribe", "trader", "market@1.0.0")
	s.fails(exitUsage, "want NAME@VERSION", "subscribe", "trader", "market")
	id := strings.TrimSpace(s.ok("get", "subscriptions", "-o", "name"))
	has(t, s.ok("get", "subscription", "trader/market@1.0.0"), "kind: Subscription", id, "- /ticks")
	s.fails(exitFailed, "0 subscriptions", "get", "subscription", "trader/nothing@1")
	key := strings.TrimSpace(s.ok("create", "key", "trader", "-q", "--name", "desk", "--ip", "127.0.0.1", "--for", "1h"))
	if len(key) != 76 || !strings.HasPrefix(key, "slk_") {
		t.Errorf("key %q", key)
	}
	keyID := key[4:16]
	has(t, s.ok("get", "keys", "trader"), keyID, "desk", "127.0.0.1/32")
	has(t, s.ok("create", "secret", "trader"), "client secret  sls_")

	// How much is used: one who reads holds a stream of the plan's fifty.
	has(t, s.ok("usage", id), id, "AsyncGold", "0 of 50000 per day", "Begins anew", "0 of 50\n")
	leave := openStream(t, server.url(t, "edge-http")+"/market/1.0.0/ticks", key)
	has(t, s.ok("usage", "trader/market@1.0.0"), "1 of 50\n", "Streams of the app")
	has(t, s.ok("usage", id, "-o", "json"), `"known": true`, `"open": 1`)
	has(t, s.ok("describe", "app", "trader"), "the desk", "Client secret", "yes", "Open streams", keyID, "desk", id, "market@1.0.0", "UNBLOCKED", "0 of 50000 per day", "1 of 50")
	if out := s.ok("describe", "app", "trader"); strings.Contains(out, key) || strings.Contains(out, "sls_") {
		t.Errorf("a secret is told: %s", out)
	}
	s.fails(exitFailed, "Not found", "describe", "app", "nobody")
	leave()
	for _, words := range [][]string{{"keys", "", "trader"}, {"app", "", "trader"}, {"plan", "Tr", "Trial"}, {"subscription", "", id}} {
		has(t, s.ok("__complete", "get", words[0], words[1]), words[2]+"\n")
	}
	has(t, s.ok("__complete", "subscribe", "trader", ""), "market@1.0.0\n")
	has(t, s.ok("__complete", "revoke", "key", "trader", ""), keyID+"\n")
	for _, verb := range []string{"hold", "reject", "block", "unblock"} {
		s.ok(verb, "subscription", id)
	}
	has(t, s.ok("get", "subscriptions", "--api", "market@1.0.0"), id, "UNBLOCKED")
	has(t, s.ok("revoke", "key", "trader", keyID), "key "+keyID+" revoked")
	has(t, s.ok("get", "keys", "trader"), "REVOKED", "desk", "127.0.0.1/32")

	// Denies and revocations.
	has(t, s.ok("deny", "subject", "https://id.example kim"), "denied")
	deny := strings.TrimSpace(s.ok("get", "denies", "-o", "name"))
	s.ok("delete", "deny", deny)
	token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://id.example","jti":"one"}`)) + ".c2ln"
	if code, out, notes := s.do(token+"\n", "revoke", "token", "-", "--reason", "leaked"); code != exitOK || out != "token revoked\n" {
		t.Errorf("revoke token: %d %s%s", code, out, notes)
	}
	s.fails(exitUsage, "no token", "revoke", "token", "x")
	s.ok("revoke", "app", "trader")
	has(t, s.ok("get", "revocations"), "token", "https://id.example", "one", "leaked", "application")

	// Bundles.
	bundle := s.ok("export", "--all", "--kinds", "Plan,API,Application,Subscription")
	has(t, bundle, "kind: Plan", "kind: API", "kind: Application", "kind: Subscription", "application: trader")
	file := s.file("all.yaml", bundle)
	s.ok("apply", "-f", file)
	has(t, s.ok("diff", "-f", file), "plan Trial unchanged", "market@1.0.0 unchanged", "application trader unchanged", "subscription trader/market@1.0.0 unchanged")
	s.fails(exitFailed, "Plan is in use", "delete", "plan", "AsyncGold")

	// Away with it.
	s.fails(exitFailed, "cascade", "delete", "api", "market@1.0.0", "--force")
	s.ok("delete", "api", "market@1.0.0", "--force", "--cascade")
	if out := s.ok("get", "subscriptions", "-o", "name"); out != "" {
		t.Errorf("subscriptions left: %q", out)
	}
	s.ok("delete", "key", "trader", keyID)
	has(t, s.ok("delete", "app", "trader"), "app trader deleted")
	has(t, s.ok("delete", "plan", "Trial"), "plan Trial deleted")
}

// openStream opens a stream with a key, until leave.
func openStream(t *testing.T, url, key string) (leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("ApiKey", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, resp.Status)
	}
	return func() {
		cancel()
		_ = resp.Body.Close()
	}
}
