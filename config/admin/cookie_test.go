package admin

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/auth"
)

// A page signs in by a cookie that no script reads and no other site sends; it counts like the token, until it signs out.
func TestSessionCookie(t *testing.T) {
	r := newRig(t)
	login := func(host string) *http.Response {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.http.URL+"/api/v1/login",
			strings.NewReader(`{"name":"creator","password":"`+testPassword+`","cookie":true}`))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		if host != "" {
			q.Host = host
		}
		res, err := r.http.Client().Do(q)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	for _, host := range []string{"example.com", "10.0.0.1:9080", "localhost.example.com"} {
		if res := login(host); res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
			t.Errorf("over http at %s: %d, %v", host, res.StatusCode, res.Cookies())
		}
	}
	for _, host := range []string{"localhost:9080", "[::1]:9080", "127.0.0.1"} {
		if res := login(host); res.StatusCode != http.StatusOK {
			t.Errorf("over http at %s: %d", host, res.StatusCode)
		}
	}
	res := login("")
	var told map[string]any
	if err := json.NewDecoder(res.Body).Decode(&told); err != nil || told["token"] != nil || told["name"] != "creator" {
		t.Fatalf("%v: %v", err, told)
	}
	cookies := res.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode || cookies[0].Path != "/" || cookies[0].Secure {
		t.Fatalf("%v", cookies)
	}
	if c := auth.Cookie("x", true); !c.Secure || !strings.HasPrefix(c.Name, "__Host-") {
		t.Errorf("over https: %v", c)
	}
	sent := cookies[0].Name + "=" + cookies[0].Value
	nobody := r.nobody()
	nobody.send("GET", "/api/v1/me", "", "", "Cookie", sent).want(t, http.StatusOK)
	nobody.send("POST", "/api/v1/logout", "", "", "Cookie", sent, "Sec-Fetch-Site", "cross-site").problem(t, http.StatusForbidden, "cross-origin")
	nobody.send("GET", "/api/v1/me", "", "", "Cookie", sent, "Authorization", "Bearer wrong").problem(t, http.StatusUnauthorized, "unauthenticated")
	nobody.send("POST", "/api/v1/logout", "", "", "Cookie", sent).want(t, http.StatusNoContent)
	nobody.send("GET", "/api/v1/me", "", "", "Cookie", sent).problem(t, http.StatusUnauthorized, "unauthenticated")
}
