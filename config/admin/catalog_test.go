package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

func body(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// create adds an API and returns its address and ETag.
func create(t *testing.T, c client, name string, change func(map[string]any)) (path, tag string) {
	t.Helper()
	d := anAPI(name)
	if change != nil {
		change(d)
	}
	a := c.send("POST", "/api/v1/apis", mediaJSON, body(t, d)).want(t, http.StatusCreated)
	return a.header.Get("Location"), a.header.Get("ETag")
}

// apiOf decodes an API as the server wrote it.
func apiOf(t *testing.T, a answered) *catalog.API {
	t.Helper()
	d, err := doc.ParseJSON("", a.body)
	if err != nil {
		t.Fatal(err)
	}
	var api catalog.API
	if err := d.Decode(&api); err != nil {
		t.Fatal(err)
	}
	return &api
}

func TestFromCreateToPublish(t *testing.T) {
	r := newRig(t)
	creator, publisher := r.as("creator"), r.as("publisher")
	yaml := "apiVersion: sluice/v1\nkind: API\nmetadata: {name: ServerSentEvents}\nspec:\n  context: /events\n  version: 1.0.0\n  endpoint: http://localhost:8080\n"
	a := creator.send("POST", "/api/v1/apis", mediaYAML, yaml).want(t, http.StatusCreated)
	path := a.header.Get("Location")
	if path != "/api/v1/apis/ServerSentEvents@1.0.0" || a.header.Get("ETag") == "" {
		t.Fatalf("location %q, tag %q", path, a.header.Get("ETag"))
	}
	api := apiOf(t, a)
	if api.Spec.State != catalog.StateCreated || api.Topic("/*") == nil || api.Metadata.Owner != "creator" {
		t.Errorf("made %+v", api)
	}
	for _, escaped := range []string{path, strings.Replace(path, "@", "%40", 1)} {
		creator.send("GET", escaped, "", "").want(t, http.StatusOK)
	}
	got := creator.send("GET", path, "", "").want(t, http.StatusOK)
	creator.send("GET", path, "", "", "If-None-Match", got.header.Get("ETag")).want(t, http.StatusNotModified)

	// The default topic goes, another comes.
	name := url.QueryEscape("/ticks")
	a = creator.send("POST", path+"/topics", mediaJSON, `{"name":"/ticks","backend":"/stream","security":"none"}`).want(t, http.StatusCreated)
	a = creator.send("DELETE", path+"/topics?name="+url.QueryEscape("/*"), "", "", "If-Match", a.header.Get("ETag")).want(t, http.StatusNoContent)
	topics := decodeAs[struct {
		Total int
		Items []struct{ Name string }
	}](t, creator.send("GET", path+"/topics", "", "").want(t, http.StatusOK).body)
	if topics.Total != 1 || topics.Items[0].Name != "/ticks" {
		t.Errorf("topics %+v", topics)
	}
	creator.send("GET", path+"/topics?name="+name, "", "").want(t, http.StatusOK)
	creator.send("GET", path+"/topics?name=%2Fnone", "", "").problem(t, http.StatusNotFound, "not-found")

	// https only, by the tag of the deletion.
	full := apiOf(t, creator.send("GET", path, "", "").want(t, http.StatusOK))
	full.Spec.Transports = []catalog.Transport{catalog.TransportHTTPS}
	text, err := doc.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	creator.send("PUT", path, mediaJSON, string(text)).problem(t, http.StatusPreconditionRequired, "precondition-required")
	creator.send("PUT", path, mediaJSON, string(text), "If-Match", `"1"`).problem(t, http.StatusPreconditionFailed, "version-mismatch")
	creator.send("PUT", path, mediaJSON, string(text), "If-Match", a.header.Get("ETag")).want(t, http.StatusOK)

	creator.send("POST", path+"/lifecycle", mediaJSON, `{"action":"publish"}`).problem(t, http.StatusForbidden, "forbidden")
	p := publisher.send("POST", path+"/lifecycle", mediaJSON, `{"action":"retire"}`).problem(t, http.StatusConflict, "transition-not-allowed")
	if len(p.Allowed) != 2 {
		t.Errorf("allowed %v", p.Allowed)
	}
	publisher.send("POST", path+"/lifecycle", mediaJSON, `{"action":"explode"}`).problem(t, http.StatusUnprocessableEntity, "invalid-value")
	publisher.send("POST", path+"/lifecycle", mediaJSON, `{"action":"publish","comment":"go"}`).want(t, http.StatusOK)
	life := decodeAs[Lifecycle](t, creator.send("GET", path+"/lifecycle", "", "").want(t, http.StatusOK).body)
	if life.State != "PUBLISHED" || len(life.History) < 4 || life.History[0].Action != "publish" || life.History[0].By != "publisher" || life.History[0].Comment != "go" {
		t.Errorf("lifecycle %+v", life)
	}
	dep := decodeAs[Deployments](t, creator.send("GET", path+"/deployments", "", "").want(t, http.StatusOK).body)
	if dep.Groups["default"] == 0 {
		t.Errorf("deployments %+v", dep)
	}
	creator.send("DELETE", path, "", "", "If-Match", "*").problem(t, http.StatusConflict, "api-live")
	public := r.as("subscriber").send("GET", "/api/v1/dev/apis/ServerSentEvents@1.0.0", "", "").want(t, http.StatusOK)
	for _, secret := range []string{"localhost", "8080", "/stream", "creator"} {
		if strings.Contains(string(public.body), secret) {
			t.Errorf("developers see %q: %s", secret, public.body)
		}
	}
}

func TestDryRunsWriteNothing(t *testing.T) {
	r := newRig(t)
	c := r.as("both")
	before := c.send("GET", "/api/v1/apis", "", "").body
	p := decodeAs[struct {
		DryRun bool
		Diff   []json.RawMessage
	}](t, c.send("POST", "/api/v1/apis?dryRun=true", mediaJSON, body(t, anAPI("dry"))).want(t, http.StatusOK).body)
	if !p.DryRun || len(p.Diff) == 0 {
		t.Errorf("plan %+v", p)
	}
	if after := c.send("GET", "/api/v1/apis", "", "").body; string(after) != string(before) {
		t.Errorf("created by a dry run: %s", after)
	}
	path, tag := create(t, c, "wet", nil)
	d := anAPI("wet")
	put(t, d, "/metadata/description", "other")
	for _, req := range [][3]string{
		{"PUT", path, body(t, d)}, {"DELETE", path, ""}, {"POST", path + "/topics", `{"name":"/b"}`}, {"PUT", path + "/topics", `[{"name":"/b"}]`},
		{"POST", path + "/lifecycle", `{"action":"prototype"}`}, {"POST", path + "/versions", `{"version":"2.0.0"}`},
	} {
		media := mediaJSON
		if req[2] == "" {
			media = ""
		}
		a := c.send(req[0], req[1]+"?dryRun=true", media, req[2], "If-Match", "*").want(t, http.StatusOK)
		if !strings.Contains(string(a.body), `"dryRun":true`) {
			t.Errorf("%s %s: %s", req[0], req[1], a.body)
		}
	}
	if a := c.send("GET", path, "", "").want(t, http.StatusOK); a.header.Get("ETag") != tag {
		t.Errorf("tag %s, was %s", a.header.Get("ETag"), tag)
	}
}

func TestOfParallelCreatesOneWins(t *testing.T) {
	r := newRig(t)
	c := r.as("creator")
	for round := range 5 {
		statuses := make([]int, 20)
		var wg sync.WaitGroup
		for i := range statuses {
			wg.Go(func() {
				d := anAPI(fmt.Sprintf("api%d-%d", round, i))
				put(t, d, "/spec/context", fmt.Sprintf("/same%d", round))
				a, err := c.try("POST", "/api/v1/apis", mediaJSON, body(t, d))
				if err != nil {
					t.Error(err)
				}
				statuses[i] = a.status
			})
		}
		wg.Wait()
		count := map[int]int{}
		for _, s := range statuses {
			count[s]++
		}
		if count[http.StatusCreated] != 1 || count[http.StatusConflict] != 19 {
			t.Errorf("round %d: statuses %v", round, count)
		}
	}
}

func TestNoUpdateIsLost(t *testing.T) {
	r := newRig(t)
	c := r.as("creator")
	path, _ := create(t, c, "counter", nil)
	const writers, each = 4, 4
	var wg sync.WaitGroup
	var mu sync.Mutex
	lost := 0
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				a, err := c.try("GET", path, "", "")
				if err != nil {
					t.Error(err)
					return
				}
				d, err := doc.ParseJSON("", a.body)
				if err != nil {
					t.Error(err)
					return
				}
				var api catalog.API
				if err := d.Decode(&api); err != nil {
					t.Error(err)
					return
				}
				api.Metadata.Description += "x"
				text, err := doc.Marshal(&api)
				if err != nil {
					t.Error(err)
					return
				}
				b, err := c.try("PUT", path, mediaJSON, string(text), "If-Match", a.header.Get("ETag"))
				switch {
				case err != nil:
					t.Error(err)
					return
				case b.status == http.StatusOK:
					done++
				case b.status == http.StatusPreconditionFailed:
					mu.Lock()
					lost++
					mu.Unlock()
				default:
					t.Errorf("status %d: %s", b.status, b.body)
					return
				}
			}
		})
	}
	wg.Wait()
	api := apiOf(t, c.send("GET", path, "", ""))
	if n := len(api.Metadata.Description); n != writers*each {
		t.Errorf("%d of %d changes are there", n, writers*each)
	}
	t.Logf("%d changes, %d times told 412", writers*each, lost)
}

func TestListsPage(t *testing.T) {
	r := newRig(t)
	c := r.as("creator")
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("list%d", 6-i)
		create(t, c, name, func(d map[string]any) {
			put(t, d, "/metadata/tags", []any{[]string{"odd", "even"}[i%2]})
			put(t, d, "/metadata/labels", map[string]any{"n": fmt.Sprint(i)})
		})
		want = append([]string{name}, want...)
	}
	walk := func(query string) (names []string) {
		t.Helper()
		cursor := ""
		for pages := 0; ; pages++ {
			if pages > 20 {
				t.Fatalf("%s does not end: %v", query, names)
			}
			list := decodeAs[APIList](t, c.send("GET", "/api/v1/apis?"+query+"&cursor="+url.QueryEscape(cursor), "", "").want(t, http.StatusOK).body)
			for _, item := range list.Items {
				names = append(names, item.Name)
			}
			if cursor = list.NextCursor; cursor == "" {
				return names
			}
		}
	}
	for _, limit := range []int{1, 2, 3, 7, 200} {
		if got := walk(fmt.Sprintf("limit=%d", limit)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	if got := walk("limit=2&sort=-updatedAt"); got[0] != "list0" || len(got) != 7 {
		t.Errorf("newest first: %v", got)
	}
	if got := walk("limit=2&tag=even"); len(got) != 3 {
		t.Errorf("by tag: %v", got)
	}
	if got := walk("label=n%3D3"); len(got) != 1 {
		t.Errorf("by label: %v", got)
	}
	if got := walk("q=LIST3"); len(got) != 1 {
		t.Errorf("by text: %v", got)
	}
	if got := walk("state=PUBLISHED"); len(got) != 0 {
		t.Errorf("by state: %v", got)
	}
	for query, parameter := range map[string]string{"limit=0": "limit", "limit=201": "limit", "limit=x": "limit", "sort=size": "sort", "cursor=x": "cursor",
		"state=published": "state", "limit=1&limit=2": "limit", "unknown=1": "unknown"} {
		p := c.send("GET", "/api/v1/apis?"+query, "", "").problem(t, http.StatusBadRequest, "invalid-query")
		if len(p.Errors) != 1 || p.Errors[0].Parameter != parameter {
			t.Errorf("%s: %+v", query, p.Errors)
		}
	}
}

func TestAnotherStateNeedsAPublisher(t *testing.T) {
	r := newRig(t)
	d := anAPI("stated")
	put(t, d, "/spec/topics/0/security", "none")
	put(t, d, "/spec/state", "PUBLISHED")
	r.as("creator").send("POST", "/api/v1/apis", mediaJSON, body(t, d)).problem(t, http.StatusForbidden, "forbidden")
	r.as("creator").send("POST", "/api/v1/apply", mediaJSON, body(t, d)).problem(t, http.StatusForbidden, "forbidden")
	a := r.as("both").send("POST", "/api/v1/apis", mediaJSON, body(t, d)).want(t, http.StatusCreated)
	path := a.header.Get("Location")
	put(t, d, "/metadata/description", "x")
	r.as("creator").send("PUT", path, mediaJSON, body(t, d), "If-Match", "*").want(t, http.StatusOK) // the same state
	put(t, d, "/spec/state", "CREATED")
	r.as("creator").send("PUT", path, mediaJSON, body(t, d), "If-Match", "*").problem(t, http.StatusForbidden, "forbidden")
	r.as("both").send("PUT", path, mediaJSON, body(t, d), "If-Match", "*").want(t, http.StatusOK)
}

func TestPrivateAPIsAreNotThereForOthers(t *testing.T) {
	r := newRig(t)
	path, _ := create(t, r.as("creator"), "mine", func(d map[string]any) { put(t, d, "/spec/visibility", "private") })
	missing := r.as("other").send("GET", "/api/v1/apis/none@1.0.0", "", "").problem(t, http.StatusNotFound, "not-found")
	for _, req := range [][2]string{{"GET", ""}, {"PUT", ""}, {"DELETE", ""}, {"GET", "/topics"}, {"GET", "/lifecycle"}, {"GET", "/revisions"},
		{"GET", "/deployments"}, {"GET", "/versions"}} {
		media, text := "", ""
		if req[0] == "PUT" {
			media, text = mediaJSON, body(t, anAPI("mine"))
		}
		p := r.as("other").send(req[0], path+req[1], media, text, "If-Match", "*").problem(t, http.StatusNotFound, "not-found")
		if p.Instance, missing.Instance = "", ""; fmt.Sprint(p) != fmt.Sprint(missing) {
			t.Errorf("%s %s: %+v, of a missing one %+v", req[0], req[1], p, missing)
		}
	}
	if list := decodeAs[APIList](t, r.as("other").send("GET", "/api/v1/apis", "", "").body); list.Total != 0 {
		t.Errorf("listed: %+v", list)
	}
	r.as("creator").send("GET", path, "", "").want(t, http.StatusOK)
	r.as("admin").send("GET", path, "", "").want(t, http.StatusOK)
	r.as("other").send("GET", "/api/v1/families/mine", "", "").problem(t, http.StatusNotFound, "not-found")
}

func TestRevisionsVersionsAndFamilies(t *testing.T) {
	r := newRig(t)
	c := r.as("both")
	path, _ := create(t, c, "many", func(d map[string]any) { put(t, d, "/spec/deploy", "manual") })
	a := c.send("POST", path+"/revisions", mediaJSON, `{"description":"first"}`).want(t, http.StatusCreated)
	rev := decodeAs[revision](t, a.body)
	if rev.N != 1 || rev.Description != "first" || a.header.Get("Location") != path+"/revisions/1" {
		t.Errorf("revision %+v at %s", rev, a.header.Get("Location"))
	}
	c.send("POST", path+"/revisions", "", "").want(t, http.StatusCreated)
	c.send("POST", path+"/topics", mediaJSON, `{"name":"/more"}`).want(t, http.StatusCreated)
	diff := decodeAs[struct{ Diff []json.RawMessage }](t, c.send("GET", path+"/revisions/1/diff", "", "").want(t, http.StatusOK).body)
	if len(diff.Diff) == 0 {
		t.Error("no difference to the working copy")
	}
	c.send("GET", path+"/revisions/1/diff?against=2", "", "").want(t, http.StatusOK)
	c.send("POST", path+"/revisions/1/restore", "", "").want(t, http.StatusOK)
	if api := apiOf(t, c.send("GET", path, "", "")); api.Topic("/more") != nil {
		t.Error("restore left the topic")
	}
	c.send("PUT", path+"/deployments", mediaJSON, `{"groups":{"default":1}}`, "If-Match", "*").want(t, http.StatusOK)
	c.send("PUT", path+"/deployments", mediaJSON, `{"groups":{"default":9}}`, "If-Match", "*").problem(t, http.StatusNotFound, "not-found")
	c.send("PUT", path+"/deployments", mediaJSON, `{"groups":{"default":0}}`, "If-Match", "*").problem(t, http.StatusUnprocessableEntity, "invalid-value")
	c.send("DELETE", path+"/revisions/1", "", "", "If-Match", "*").problem(t, http.StatusConflict, "revision-deployed")
	c.send("DELETE", path+"/revisions/2", "", "", "If-Match", "*").want(t, http.StatusNoContent)
	c.send("GET", path+"/revisions/2", "", "").problem(t, http.StatusNotFound, "not-found")
	c.send("GET", path+"/revisions/1", "", "").want(t, http.StatusOK)
	c.send("GET", path+"/revisions/one", "", "").problem(t, http.StatusNotFound, "not-found")
	list := decodeAs[struct {
		Total int
		Items []revision
	}](t, c.send("GET", path+"/revisions", "", "").want(t, http.StatusOK).body)
	if list.Total != 1 || len(list.Items[0].Groups) != 1 {
		t.Errorf("revisions %+v", list)
	}

	r.as("creator").send("POST", path+"/versions", mediaJSON, `{"version":"2.0.0","default":true}`).problem(t, http.StatusForbidden, "forbidden")
	a = c.send("POST", path+"/versions", mediaJSON, `{"version":"2.0.0"}`).want(t, http.StatusCreated)
	if api := apiOf(t, a); api.Spec.Version != "2.0.0" || api.Spec.State != catalog.StateCreated {
		t.Errorf("copy %+v", api.Spec)
	}
	c.send("POST", path+"/versions", mediaJSON, `{"version":"2.0.0"}`).problem(t, http.StatusConflict, "version-conflict")
	c.send("POST", path+"/versions", mediaJSON, `{"version":"a b"}`).problem(t, http.StatusUnprocessableEntity, "invalid-version")
	c.send("PUT", "/api/v1/families/many", mediaJSON, `{"defaultVersion":"2.0.0"}`, "If-Match", "*").want(t, http.StatusOK)
	f := decodeAs[Family](t, c.send("GET", "/api/v1/families/many", "", "").want(t, http.StatusOK).body)
	if f.DefaultVersion != "2.0.0" || len(f.Versions) != 2 {
		t.Errorf("family %+v", f)
	}
	c.send("PUT", "/api/v1/families/many", mediaJSON, `{"defaultVersion":null}`, "If-Match", "*").want(t, http.StatusOK)
	c.send("PUT", "/api/v1/families/many", mediaJSON, `{}`, "If-Match", "*").problem(t, http.StatusUnprocessableEntity, "invalid-value")
	c.send("PUT", "/api/v1/families/many", mediaJSON, `{"defaultVersion":"9"}`, "If-Match", "*").problem(t, http.StatusNotFound, "not-found")
	versions := decodeAs[APIList](t, c.send("GET", path+"/versions", "", "").want(t, http.StatusOK).body)
	if versions.Total != 2 {
		t.Errorf("versions %+v", versions)
	}
	free := decodeAs[Availability](t, c.send("GET", "/api/v1/availability?name=many&context=%2Fmany&version=2.0.0", "", "").want(t, http.StatusOK).body)
	if free.Version.Status != "taken" {
		t.Errorf("availability %+v", free)
	}
	free = decodeAs[Availability](t, c.send("GET", "/api/v1/availability?name=new&context=%2Fa%20b&version=1", "", "").want(t, http.StatusOK).body)
	if free.Name.Status != "free" || free.Context.Status != "invalid" {
		t.Errorf("availability %+v", free)
	}
}

func TestApplyConverges(t *testing.T) {
	r := newRig(t)
	c := r.as("both")
	bundle := func(names ...string) string {
		var b strings.Builder
		for _, n := range names {
			fmt.Fprintf(&b, "---\napiVersion: sluice/v1\nkind: API\nmetadata: {name: %s}\nspec: {context: /%s, version: 1.0.0, endpoint: 'http://127.0.0.1:8090', topics: [{name: /t}]}\n", n, n)
		}
		return b.String()
	}
	counts := func(query, text string) map[string]int {
		t.Helper()
		out := decodeAs[Applied](t, c.send("POST", "/api/v1/apply"+query, mediaYAML, text).want(t, http.StatusOK).body)
		return out.Counts
	}
	if n := counts("?set=s&dryRun=true", bundle("one", "two")); n["created"] != 2 {
		t.Errorf("dry: %v", n)
	}
	if n := counts("?set=s", bundle("one", "two")); n["created"] != 2 {
		t.Errorf("first: %v", n)
	}
	if n := counts("?set=s", bundle("one", "two")); n["unchanged"] != 2 || len(n) != 1 {
		t.Errorf("again: %v", n)
	}
	if n := counts("?set=s&prune=true", bundle("one")); n["unchanged"] != 1 || n["pruned"] != 1 {
		t.Errorf("prune: %v", n)
	}
	p := c.send("POST", "/api/v1/apply", mediaYAML, bundle("three")+bundle("a b")).problem(t, http.StatusUnprocessableEntity, "")
	if len(p.Errors) == 0 || p.Errors[0].Line == 0 {
		t.Errorf("problem %+v", p)
	}
	c.send("GET", "/api/v1/apis/three@1.0.0", "", "").problem(t, http.StatusNotFound, "not-found")
	export := c.send("GET", "/api/v1/export", "", "").want(t, http.StatusOK)
	if n := counts("", string(export.body)); n["created"]+n["pruned"]+n["refused"] != 0 {
		t.Errorf("an export is not applied as it is: %v\n%s", n, export.body)
	}
}

func TestVerdicts(t *testing.T) {
	r := newRig(t)
	v := decodeAs[Verdict](t, r.as("creator").send("POST", "/api/v1/validate/api", mediaJSON, body(t, anAPI("v"))).want(t, http.StatusOK).body)
	if !v.Valid || len(v.Errors) != 0 {
		t.Errorf("verdict %+v", v)
	}
	bad := anAPI("v")
	put(t, bad, "/spec/context", "/a b")
	v = decodeAs[Verdict](t, r.as("creator").send("POST", "/api/v1/validate/api", mediaJSON, body(t, bad)).want(t, http.StatusOK).body)
	if v.Valid || len(v.Errors) != 1 || v.Errors[0].Type != "invalid-context" || v.Errors[0].Pointer != "/spec/context" {
		t.Errorf("verdict %+v", v)
	}
}
