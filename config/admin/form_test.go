package admin

import (
	"archive/zip"
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"
)

// part is one part of a form.
type part struct{ name, file, media, text string }

func form(t *testing.T, parts ...part) (media, text string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf("form-data; name=%q", p.name)}}
		if p.file != "" {
			h.Set("Content-Disposition", fmt.Sprintf("form-data; name=%q; filename=%q", p.name, p.file))
		}
		if p.media != "" {
			h.Set("Content-Type", p.media)
		}
		out, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(out, p.text)
	}
	w.Close()
	return w.FormDataContentType(), b.String()
}

// archive is a zip of files, name and content by turns.
func archive(t *testing.T, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: files[i], Method: zip.Deflate})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, files[i+1])
	}
	w.Close()
	return b.String()
}

func TestFormsImport(t *testing.T) {
	r := newRig(t)
	c := r.as("both")
	send := func(what string, parts ...part) answered {
		media, text := form(t, parts...)
		return c.send("POST", "/api/v1/import/"+what, media, text)
	}
	a := send("asyncapi", part{"file", "doc.yaml", "", asyncDocument}, part{"api", "", "", "metadata: {name: formed, tags: [a]}\nspec: {context: /formed, visibility: private}\n"}).want(t, http.StatusCreated)
	api := apiOf(t, c.send("GET", a.header.Get("Location"), "", "").want(t, http.StatusOK))
	if api.Name() != "formed" || api.Spec.Context != "/formed" || api.Spec.Visibility != "private" || len(api.Metadata.Tags) != 1 || api.Topic("/ticks") == nil || api.Spec.Endpoint != "http://127.0.0.1:8090" {
		t.Errorf("imported %+v", api)
	}
	// curl -F file=@x sends no more than application/octet-stream, and the part may come last.
	a = send("wso2", part{"api", "", "", `{"metadata":{"name":"Other","labels":{"team":"x"}},"spec":{"context":"/other","endpoint":null}}`},
		part{"file", "project", "application/octet-stream", archive(t, "p/api.yaml", wso2API)}).want(t, http.StatusCreated)
	api = apiOf(t, c.send("GET", a.header.Get("Location"), "", "").want(t, http.StatusOK))
	if api.Name() != "Other" || api.Spec.Context != "/other" || api.Spec.Endpoint != "" || api.Metadata.Labels["team"] != "x" || api.Topic("/ticks") == nil {
		t.Errorf("imported %+v", api)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, archive(t, "p/api.yaml", wso2API)) }))
	defer elsewhere.Close()
	send("wso2", part{"url", "", "", elsewhere.URL + "/x"}).want(t, http.StatusCreated)
	send("asyncapi", part{"url", "", "", elsewhere.URL + "/x.yaml"}, part{"api", "", "", "metadata: {name: n}"}).problem(t, http.StatusBadRequest, "")

	for _, bad := range []struct {
		name   string
		parts  []part
		status int
		slug   string
		told   string // of the first finding: parameter or file
	}{
		{"no part", nil, 400, "invalid-document", ""},
		{"another part", []part{{"data", "", "", "x"}}, 400, "invalid-document", "data"},
		{"a part twice", []part{{"api", "", "", "metadata: {}"}, {"api", "", "", "metadata: {}"}}, 400, "invalid-document", "api"},
		{"file and url", []part{{"file", "d.yaml", "", asyncDocument}, {"url", "", "", elsewhere.URL}}, 400, "invalid-document", "url"},
		{"a list as api", []part{{"file", "d.yaml", "", asyncDocument}, {"api", "", "", "[a]"}}, 400, "invalid-document", "api.yaml"},
		{"broken api", []part{{"file", "d.yaml", "", asyncDocument}, {"api", "", "", `{"a":`}}, 400, "invalid-json", "api.json"},
		{"a key twice in api", []part{{"file", "d.yaml", "", asyncDocument}, {"api", "", "", `{"metadata":{},"metadata":{}}`}}, 400, "duplicate-key", "api.json"},
		{"an unknown field in api", []part{{"file", "d.yaml", "", asyncDocument}, {"api", "", "", `{"metadata":{"name":"n"},"spec":{"contxt":"/x"}}`}}, 400, "unknown-field", ""},
		{"a bad value in api", []part{{"file", "d.yaml", "", asyncDocument}, {"api", "", "", `{"metadata":{"name":"n"},"spec":{"visibility":"none"}}`}}, 422, "invalid-value", ""},
		{"a large file", []part{{"file", "d.yaml", "", strings.Repeat("#", maxImport+1)}}, 413, "document-too-large", ""},
		{"a large form", []part{{"file", "d.yaml", "", strings.Repeat("#", maxForm)}}, 413, "", ""},
		{"a long url", []part{{"url", "", "", "http://127.0.0.1/" + strings.Repeat("x", maxURL)}}, 413, "document-too-large", ""},
		{"a forbidden url", []part{{"url", "", "", "http://169.254.169.254/"}}, 502, "import-fetch-failed", ""},
	} {
		p := send("asyncapi", bad.parts...).problem(t, bad.status, bad.slug)
		if bad.told != "" && (len(p.Errors) == 0 || p.Errors[0].Parameter != bad.told && p.Errors[0].File != bad.told) {
			t.Errorf("%s: %+v", bad.name, p)
		}
	}
	c.send("POST", "/api/v1/import/asyncapi", "multipart/form-data", "x").problem(t, http.StatusBadRequest, "")
	c.send("POST", "/api/v1/import/asyncapi", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ncut").problem(t, http.StatusBadRequest, "")
	published := strings.Replace(strings.Replace(wso2API, "/events", "/free", 1), "ServerSentEvents", "Free", 1)
	media, text := form(t, part{"file", "api.yaml", "", published}, part{"api", "", "", "spec: {state: PUBLISHED}"})
	r.as("creator").send("POST", "/api/v1/import/wso2", media, text).problem(t, http.StatusForbidden, "forbidden")
}

// TestHostileArchives sends what no project is: nothing is made of it, and the answer says which file is wrong.
func TestHostileArchives(t *testing.T) {
	r := newRig(t)
	c := r.as("both")
	var many []string
	for i := range 201 {
		many = append(many, fmt.Sprintf("p/f%d", i), "")
	}
	for _, bad := range []struct {
		name, data string
		status     int
		slug, file string
	}{
		{"a path that leads out", archive(t, "../api.yaml", wso2API), 422, "invalid-archive", "project.zip"},
		{"an absolute path", archive(t, "/etc/api.yaml", wso2API), 422, "invalid-archive", "project.zip"},
		{"a backslash", archive(t, `p\..\..\api.yaml`, wso2API), 422, "invalid-archive", "project.zip"},
		{"a name twice", archive(t, "p/api.yaml", wso2API, "p/API.yaml", wso2API), 422, "invalid-archive", "project.zip"},
		{"two APIs", archive(t, "p/api.yaml", wso2API, "q/api.yaml", wso2API), 422, "invalid-archive", "project.zip"},
		{"no API", archive(t, "p/readme", "x"), 422, "invalid-archive", "project.zip"},
		{"many entries", archive(t, many...), 413, "document-too-large", "project.zip"},
		{"cut short", archive(t, "p/api.yaml", wso2API)[:200], 422, "invalid-archive", "project.zip"},
		{"nothing", "", 400, "invalid-document", ""},
		{"broken YAML within", archive(t, "p/api.yaml", "a: [", "p/Definitions/asyncapi.yaml", asyncDocument), 400, "invalid-yaml", "api.yaml"},
		{"a bad value within", archive(t, "p/api.yaml", strings.Replace(wso2API, "context: /events", "context: '/e v'", 1)), 422, "invalid-context", "api.yaml"},
		{"a broken document beside it", archive(t, "p/api.yaml", wso2API, "p/Definitions/asyncapi.yaml", "a: ["), 400, "invalid-yaml", "Definitions/asyncapi.yaml"},
	} {
		p := c.send("POST", "/api/v1/import/wso2", mediaZip, bad.data).problem(t, bad.status, bad.slug)
		if bad.file != "" && (len(p.Errors) == 0 || p.Errors[0].File != bad.file) {
			t.Errorf("%s: %+v", bad.name, p)
		}
	}
	if list := decodeAs[APIList](t, c.send("GET", "/api/v1/apis", "", "").body); list.Total != 0 {
		t.Errorf("made %+v", list.Items)
	}
}
