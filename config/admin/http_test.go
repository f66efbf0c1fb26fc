package admin

import (
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/problem"
)

func TestRequestsThatAreWrongBeforeTheirMeaning(t *testing.T) {
	r := newRig(t)
	body := `{"name":"kim","password":"` + testPassword + `","roles":["publisher"]}`
	for _, c := range []struct {
		name, method, target, media, body string
		header                            []string
		status                            int
		slug                              string
	}{
		{"unknown path", "GET", "/api/v1/nothing", "", "", nil, 404, "not-found"},
		{"unknown method", "PATCH", "/api/v1/users", "", "", nil, 405, "method-not-allowed"},
		{"text/xml", "POST", "/api/v1/users", "text/xml", "<a/>", nil, 415, "unsupported-media-type"},
		{"no type", "POST", "/api/v1/users", "", body, nil, 415, "unsupported-media-type"},
		{"only XML is accepted", "GET", "/api/v1/users", "", "", []string{"Accept", "text/xml"}, 406, "not-acceptable"},
		{"JSON is refused", "GET", "/api/v1/users", "", "", []string{"Accept", "application/json;q=0"}, 406, "not-acceptable"},
		{"another site", "POST", "/api/v1/users", mediaJSON, body, []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross-origin"},
		{"another origin", "POST", "/api/v1/users", mediaJSON, body, []string{"Origin", "https://evil.example"}, 403, "cross-origin"},
		{"body above 1 MiB", "POST", "/api/v1/users", mediaJSON, `"` + strings.Repeat("x", 1<<20) + `"`, nil, 413, "body-too-large"},
		{"bytes behind the document", "POST", "/api/v1/users", mediaJSON, body + "x", nil, 400, "invalid-json"},
		{"1000 deep", "POST", "/api/v1/users", mediaJSON, strings.Repeat("[", 1000), nil, 400, "too-deep"},
		{"unknown parameter", "GET", "/api/v1/users?limt=5", "", "", nil, 400, "invalid-query"},
		{"a body where none belongs", "DELETE", "/api/v1/users/kim", mediaJSON, "{}", nil, 400, "unexpected-body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.as("admin").send(c.method, c.target, c.media, c.body, c.header...).problem(t, c.status, c.slug)
		})
	}
	r.as("admin").send("GET", "/api/v1/users", "", "", "Accept", "text/html, application/*;q=0.5").want(t, http.StatusOK)
	r.as("admin").send("POST", "/api/v1/users", mediaJSON, body, "Sec-Fetch-Site", "same-origin").want(t, http.StatusCreated)
}

func TestTheDocumentIsServed(t *testing.T) {
	r := newRig(t)
	a := r.nobody().send("GET", "/openapi.yaml", "", "").want(t, http.StatusOK)
	if string(a.body) != string(openapi) {
		t.Error("another document is served")
	}
	if err := r.server.contract.doc.Validate(t.Context()); err != nil {
		t.Errorf("openapi.yaml: %v", err)
	}
	r.nobody().send("GET", "/version", "", "").want(t, http.StatusOK)
	r.nobody().send("GET", "/schemas/API.json", "", "").want(t, http.StatusOK)
	r.nobody().send("GET", "/problems/context-conflict", "", "").want(t, http.StatusOK)
	r.nobody().send("GET", "/problems/made-up", "", "").problem(t, http.StatusNotFound, "not-found")
}

func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	r := newRig(t)
	a := r.nobody().send("GET", "/docs", "", "").want(t, http.StatusOK)
	page := string(a.body)
	for _, bad := range []string{"<script", "javascript:", " src=", "@import", "url(", " on", "http://", "https://", " style="} {
		if bad == " on" {
			if m := regexp.MustCompile(`<[^>]* on\w+=`).FindString(page); m != "" {
				t.Errorf("page has %q", m)
			}
		} else if strings.Contains(page, bad) {
			t.Errorf("page has %q", bad)
		}
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, styleHash) {
		t.Errorf("policy %q", csp)
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	if style == nil || style[1] != pageStyle {
		t.Error("the style is not the one whose hash the policy names")
	}
	for _, op := range r.server.contract.ops {
		if !strings.Contains(page, `id="`+op.def.OperationID+`"`) || !strings.Contains(page, "<code>"+op.path+"</code>") {
			t.Errorf("page lacks %s %s", op.method, op.path)
		}
	}
	for name := range r.server.contract.doc.Components.Schemas {
		if !strings.Contains(page, `id="schema-`+name+`"`) {
			t.Errorf("page lacks schema %s", name)
		}
	}
	for _, link := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(page, `id="`+link[1]+`"`) {
			t.Errorf("link to %s leads nowhere", link[1])
		}
	}
}

// TestGeneratedCodeIsWhatTheDocumentSays generates again and compares.
func TestGeneratedCodeIsWhatTheDocumentSays(t *testing.T) {
	want, err := os.ReadFile("api.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("codegen.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/codegen.yaml"
	if err := os.WriteFile(file, regexp.MustCompile(`(?m)^output: .*$`).ReplaceAll(config, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "tool", "-modfile=../../tools/go.mod", "oapi-codegen", "-config", file, "openapi.yaml")
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("oapi-codegen: %v", err)
	}
	if string(got) != string(want) {
		t.Error("api.gen.go is not what openapi.yaml says; run `go generate ./config/admin`")
	}
}

func TestTypesOfProblemsAreKnown(t *testing.T) {
	for _, c := range badFields {
		if !problem.Kind(c.slug).Known() || problem.Kind(c.slug).Status() != c.status {
			t.Errorf("%s: %s is not a kind of status %d", c.name, c.slug, c.status)
		}
	}
}
