package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// report is what an import answers, without the API.
type report struct {
	DryRun bool
	Report []Finding
}

func TestAsyncAPIOverREST(t *testing.T) {
	r := newRig(t)
	c := r.as("both")
	path, tag := create(t, c, "quotes", func(d map[string]any) {
		put(t, d, "/metadata/description", "Prices")
		put(t, d, "/spec/endpoint", "http://secret-host.example:8090/base")
		put(t, d, "/spec/topics", []any{map[string]any{"name": "/quotes/{symbol}", "backend": "/hidden?s={symbol}", "security": "none"}})
	})
	for _, version := range []string{"3.1.0", "2.6.0"} {
		for _, format := range []string{"yaml", "json"} {
			a := c.send("GET", path+"/asyncapi?version="+version+"&format="+format, "", "").want(t, http.StatusOK)
			text := string(a.body)
			if !strings.Contains(text, version) || strings.Contains(text, "secret-host") || strings.Contains(text, "hidden") {
				t.Errorf("%s %s: %s", version, format, text)
			}
			if want := map[string]string{"yaml": mediaYAML, "json": mediaJSON}[format]; a.header.Get("Content-Type") != want {
				t.Errorf("content type %s, want %s", a.header.Get("Content-Type"), want)
			}
		}
	}
	internal := c.send("GET", path+"/asyncapi?profile=internal", "", "").want(t, http.StatusOK)
	if !strings.Contains(string(internal.body), "secret-host") {
		t.Error("the internal document does not name the endpoint")
	}
	c.send("GET", path+"/asyncapi?profile=wso2", "", "").want(t, http.StatusOK)
	c.send("GET", path+"/asyncapi?version=1.0", "", "").problem(t, http.StatusBadRequest, "invalid-query")
	r.as("subscriber").send("GET", "/api/v1/dev/apis/quotes@1.0.0/asyncapi", "", "").problem(t, http.StatusNotFound, "not-found")
	c.send("POST", path+"/lifecycle", mediaJSON, `{"action":"prototype"}`).want(t, http.StatusOK)
	public := r.as("subscriber").send("GET", "/api/v1/dev/apis/quotes@1.0.0/asyncapi", "", "").want(t, http.StatusOK)
	if strings.Contains(string(public.body), "secret-host") || !strings.Contains(string(public.body), "/quotes/{symbol}") {
		t.Errorf("developers get %s", public.body)
	}
	c.send("PUT", path+"/asyncapi", mediaYAML, string(internal.body)).problem(t, http.StatusPreconditionRequired, "precondition-required")
	c.send("PUT", path+"/asyncapi", mediaYAML, string(internal.body), "If-Match", tag).problem(t, http.StatusPreconditionFailed, "version-mismatch")
	edited := strings.ReplaceAll(string(c.send("GET", path+"/asyncapi?profile=internal", "", "").body), "quotes/{symbol}", "prices/{symbol}")
	c.send("PUT", path+"/asyncapi?dryRun=true", mediaYAML, edited, "If-Match", "*").want(t, http.StatusOK)
	c.send("PUT", path+"/asyncapi", mediaYAML, edited, "If-Match", "*").want(t, http.StatusOK)
	if api := apiOf(t, c.send("GET", path, "", "")); api.Topic("/prices/{symbol}") == nil || api.Spec.Endpoint != "http://secret-host.example:8090/base" {
		t.Errorf("after the update: %+v", api.Spec)
	}
}

const asyncDocument = `asyncapi: 2.0.0
info: {title: Ticks, version: 1.0.0}
servers: {p: {url: 'http://127.0.0.1:8090', protocol: sse}}
channels:
  /ticks: {subscribe: {message: {payload: {type: object}}}}
`

func TestAsyncAPIImports(t *testing.T) {
	r := newRig(t)
	c := r.as("creator")
	a := c.send("POST", "/api/v1/import/asyncapi?dryRun=true", mediaYAML, asyncDocument).want(t, http.StatusOK)
	if !decodeAs[report](t, a.body).DryRun {
		t.Errorf("%s", a.body)
	}
	a = c.send("POST", "/api/v1/import/asyncapi?name=imported&context=%2Fin&version=3", mediaYAML, asyncDocument).want(t, http.StatusCreated)
	if a.header.Get("Location") != "/api/v1/apis/imported@3" {
		t.Errorf("location %s", a.header.Get("Location"))
	}
	api := apiOf(t, c.send("GET", "/api/v1/apis/imported@3", "", "").want(t, http.StatusOK))
	if api.Spec.Context != "/in" || api.Topic("/ticks") == nil || api.Spec.Endpoint != "http://127.0.0.1:8090" {
		t.Errorf("imported %+v", api.Spec)
	}
	c.send("POST", "/api/v1/import/asyncapi?name=imported&context=%2Fin&version=3", mediaYAML, asyncDocument).problem(t, http.StatusConflict, "")

	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked++
		if req.URL.Path == "/doc" {
			fmt.Fprint(w, asyncDocument)
			return
		}
		http.NotFound(w, req)
	}))
	defer elsewhere.Close()
	at := "/api/v1/import/asyncapi?name=fetched&url=" + url.QueryEscape(elsewhere.URL)
	c.send("POST", at+"/doc", "", "").want(t, http.StatusCreated)
	c.send("POST", at+"/none", "", "").problem(t, http.StatusBadGateway, "import-fetch-failed")
	c.send("POST", at+"/doc", mediaYAML, asyncDocument).problem(t, http.StatusBadRequest, "invalid-query")
	c.send("POST", "/api/v1/import/asyncapi?url=http%3A%2F%2F169.254.169.254%2Flatest", "", "").problem(t, http.StatusBadGateway, "import-fetch-failed")
	if asked != 2 {
		t.Errorf("fetched %d times", asked)
	}

	for _, bad := range []struct{ name, text, slug, pointer string }{
		{"a reference to elsewhere", strings.Replace(asyncDocument, "{subscribe: {message: {payload: {type: object}}}}", "{$ref: '"+elsewhere.URL+"/doc'}", 1), "external-ref", "/channels/~1ticks/$ref"},
		{"a version to come", strings.Replace(asyncDocument, "2.0.0", "9.0.0", 1), "unsupported-version", "/asyncapi"},
		{"only to publish", strings.Replace(asyncDocument, "subscribe:", "publish:", 1), "not-subscribe", "/channels/~1ticks/publish"},
	} {
		p := c.send("POST", "/api/v1/import/asyncapi?name=bad", mediaYAML, bad.text).problem(t, http.StatusUnprocessableEntity, bad.slug)
		if len(p.Errors) == 0 || p.Errors[0].Line == 0 {
			t.Errorf("%s: %+v", bad.name, p)
		} else if p.Errors[0].Pointer != bad.pointer {
			t.Logf("%s points at %s", bad.name, p.Errors[0].Pointer)
		}
		v := decodeAs[Verdict](t, c.send("POST", "/api/v1/validate/asyncapi", mediaYAML, bad.text).want(t, http.StatusOK).body)
		if v.Valid && bad.slug != "not-subscribe" {
			t.Errorf("%s is valid", bad.name)
		}
	}
	if asked != 2 {
		t.Error("a reference was followed")
	}
	c.send("POST", "/api/v1/import/asyncapi", "", "").problem(t, http.StatusBadRequest, "invalid-document")
	v := decodeAs[Verdict](t, c.send("POST", "/api/v1/validate/asyncapi", mediaYAML, asyncDocument).want(t, http.StatusOK).body)
	if !v.Valid {
		t.Errorf("verdict %+v", v)
	}
}
