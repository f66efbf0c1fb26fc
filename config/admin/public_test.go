package admin

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice/config"
)

// Whoever may see an API is told where clients reach it: by the edges of its groups and the transports it allows, and nowhere else.
func TestAddressesOfTheEdgesAreTold(t *testing.T) {
	r := newRig(t)
	r.server.options.Public = []config.PublicURL{{URL: "https://e.example.com"}, {URL: "http://e.example.com"}, {Group: "eu", URL: "https://eu.example.com/sse"}}
	c := r.as("both")
	path, _ := create(t, c, "quotes", func(d map[string]any) {
		put(t, d, "/spec/endpoint", "http://secret-host.example:8090/base")
		put(t, d, "/spec/transports", []any{"https"})
		put(t, d, "/spec/topics", []any{map[string]any{"name": "/ticks", "security": "none"}})
	})
	c.send("POST", path+"/lifecycle", mediaJSON, `{"action":"publish"}`).want(t, http.StatusOK)
	for target, as := range map[string]client{path + "/asyncapi": c, "/api/v1/dev/apis/quotes@1.0.0/asyncapi": r.as("subscriber")} {
		text := string(as.send("GET", target+"?version=2.6.0", "", "").want(t, http.StatusOK).body)
		if strings.Count(text, "e.example.com/quotes/1.0.0") != 1 || strings.Contains(text, "http://e.") || strings.Contains(text, "eu.example") || strings.Contains(text, "secret") {
			t.Errorf("%s: %s", target, text)
		}
	}
	seen := decodeAs[struct{ URLs []string }](t, r.as("subscriber").send("GET", "/api/v1/dev/apis/quotes@1.0.0", "", "").want(t, http.StatusOK).body)
	if !slices.Equal(seen.URLs, []string{"https://e.example.com/quotes/1.0.0"}) {
		t.Errorf("developers see %v", seen.URLs)
	}
}

// With control.importURL off nothing is fetched, whoever asks; files still come in.
func TestImportsFromAddressesCanBeForbidden(t *testing.T) {
	r := newRig(t)
	r.server.noImport = true
	c := r.as("both")
	c.send("POST", "/api/v1/import/asyncapi?url=http%3A%2F%2F127.0.0.1%3A1%2Fa.yaml", "", "").problem(t, http.StatusForbidden, "forbidden")
	c.send("POST", "/api/v1/import/asyncapi?dryRun=true", mediaYAML, asyncDocument).want(t, http.StatusOK)
}
