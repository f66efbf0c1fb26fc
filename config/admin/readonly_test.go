package admin

import (
	"net/http"
	"strings"
	"testing"

	"sluice/config"
	"sluice/config/catalog"
)

const filed = `apiVersion: sluice/v1
kind: API
metadata: {name: filed}
spec: {context: /filed, version: '1', endpoint: 'http://127.0.0.1:1', state: PUBLISHED, topics: [{name: /ticks, security: none}]}
`

// Over definitions that come from files everything can be read, and every write is refused with where to change them.
func TestDefinitionsFromFilesAreReadOnly(t *testing.T) {
	r := newRig(t)
	store, err := catalog.NewStatic(catalog.OptionsFrom(config.Default()), catalog.Source{Name: "a.yaml", Data: []byte(filed)})
	if err != nil {
		t.Fatal(err)
	}
	shown := catalog.NewReadOnly(store, r.server.options, "The definitions come from folder apis.")
	r.server.catalog = shown
	runs(t, shown.Run)
	c := r.as("admin")
	const path = "/api/v1/apis/filed@1"
	first := c.send("GET", path, "", "").want(t, http.StatusOK)
	tag := first.header.Get("ETag")
	for _, target := range []string{"", "/topics", "/lifecycle", "/revisions", "/revisions/1", "/deployments", "/versions", "/asyncapi", "/export?format=sluice", "/export?format=wso2"} {
		c.send("GET", path+target, "", "").want(t, http.StatusOK)
	}
	for _, target := range []string{"/apis", "/families/filed", "/export", "/dev/apis/filed@1", "/availability?name=filed&context=%2Ffiled&version=1"} {
		if a := c.send("GET", "/api/v1"+target, "", "").want(t, http.StatusOK); !strings.Contains(string(a.body), "filed") && !strings.Contains(string(a.body), "taken") {
			t.Errorf("%s: %s", target, a.body)
		}
	}
	yaml := strings.Replace(filed, "metadata: {name: filed}", "metadata: {name: filed, tags: [new]}", 1)
	for _, w := range []struct{ method, target, media, body string }{
		{"POST", "/apis", mediaYAML, strings.ReplaceAll(filed, "filed", "other")},
		{"PUT", "/apis/filed@1", mediaYAML, yaml},
		{"DELETE", "/apis/filed@1?force=true", "", ""},
		{"POST", "/apis/filed@1/lifecycle", mediaJSON, `{"action":"block"}`},
		{"POST", "/apis/filed@1/topics", mediaJSON, `{"name":"/more"}`},
		{"PUT", "/apis/filed@1/deployments", mediaJSON, `{"groups":{}}`},
		{"POST", "/apis/filed@1/versions", mediaJSON, `{"version":"2"}`},
		{"POST", "/apis?dryRun=true", mediaYAML, strings.ReplaceAll(filed, "filed", "other")},
		{"POST", "/import/asyncapi", mediaYAML, asyncDocument},
	} {
		p := c.send(w.method, "/api/v1"+w.target, w.media, w.body, "If-Match", "*").problem(t, http.StatusConflict, "read-only")
		if p.Detail != "The definitions come from folder apis." {
			t.Errorf("%s %s: %s", w.method, w.target, p.Detail)
		}
	}
	if a := c.send("POST", "/api/v1/apply", mediaYAML, yaml); !strings.Contains(string(a.body), "folder apis") {
		t.Errorf("apply: %d %s", a.status, a.body)
	}
	// A reload is seen; what it does not change has the tag that it had.
	more := filed + "---\n" + strings.ReplaceAll(filed, "filed", "more")
	if _, err := store.Replace(catalog.Source{Name: "a.yaml", Data: []byte(more)}); err != nil {
		t.Fatal(err)
	}
	for range shown.Watch(t.Context()) {
		if len(shown.List()) == 2 {
			break
		}
	}
	if got := c.send("GET", path, "", "").want(t, http.StatusOK).header.Get("ETag"); got != tag {
		t.Errorf("tag %s, was %s", got, tag)
	}
	c.send("GET", "/api/v1/apis/more@1/revisions/1", "", "").want(t, http.StatusOK)
	before := shown.Rev()
	if _, err := store.Replace(catalog.Source{Name: "a.yaml", Data: []byte(filed)}); err != nil {
		t.Fatal(err)
	}
	for range shown.Watch(t.Context()) {
		if len(shown.List()) == 1 {
			break
		}
	}
	all, _ := shown.ChangesSince(0)
	last, until := shown.ChangesSince(before)
	if len(all) != 1 || len(last) != 1 || last[0].Record != nil || last[0].Before == nil || last[0].Before.ID != "more@1" || until != shown.Rev() {
		t.Errorf("changes %+v, at last %+v, until %d", all, last, until)
	}
}
