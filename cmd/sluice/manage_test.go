package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// The management verbs against a running server, one after the other as a person would use them.
func TestManage(t *testing.T) {
	t.Parallel()
	server := startLive(t)
	upstream := startFeed(t)
	s := newShell(t, server.url(t, "control"))
	edge := server.url(t, "edge-http")

	s.fails(exitFailed, "sign in with 'sluice login'", "whoami")
	s.fails(exitFailed, "Not signed in", "login", "--password-file", s.file("wrong", "not the password\n"))
	if code, out, notes := s.do(server.password+"\n", "login"); code != exitOK || !strings.Contains(out, "as admin (admin)") {
		t.Fatalf("login: %d, %s%s", code, out, notes)
	}
	st, err := os.Stat(s.env["SLUICE_CREDENTIALS"])
	if err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("credentials: %v, %v", st, err)
	}
	has(t, s.ok("whoami"), "admin (admin)")
	has(t, s.ok("whoami", "-o", "json"), `"name": "admin"`)

	const id = "ServerSentEvents@1.0.0"
	create := []string{"create", "api", "ServerSentEvents", "--context", "/events", "--version", "1.0.0", "--endpoint", upstream}
	has(t, s.ok(append(create, "--dry-run")...), id+" would be created")
	if out := s.ok("get", "apis", "-o", "name"); out != "" {
		t.Errorf("a dry run wrote %q", out)
	}
	if out := s.ok(create...); out != id+" created\n" {
		t.Errorf("create says %q", out)
	}
	s.fails(exitFailed, "exists", create...)
	s.fails(exitFailed, "/spec/context", "create", "api", "x", "--context", "/admin", "--version", "1")
	s.fails(exitUsage, "required flag", "create", "api", "x")
	if out := s.ok("get", "apis", "-o", "name"); out != id+"\n" {
		t.Errorf("names %q", out)
	}
	has(t, s.ok("get", "apis"), "API", id, "CREATED", "/events/1.0.0")
	has(t, s.ok("get", "api", id), "kind: API", "name: ServerSentEvents", "context: /events", "/*")
	s.fails(exitFailed, "Not found: no API nothing@1 that you may see", "get", "api", "nothing@1")
	s.fails(exitFailed, "nothing is no id: that is NAME@VERSION", "get", "api", "nothing")
	s.fails(exitUsage, "of what kind? 'sluice describe api "+id+"'", "describe", id)

	// Topics.
	s.ok("topic", "delete", id, "/*")
	if out := s.ok("topic", "add", id, "ticks", "--backend", "/stream/ticks", "--open"); out != id+" changed: topic /ticks added\n" {
		t.Errorf("topic add says %q", out)
	}
	has(t, s.ok("topic", "list", id), "/ticks", "none", "/stream/ticks")
	s.ok("topic", "set", id, "-f", s.file("topics.yaml", "- {name: /ticks, security: none, backend: /stream/ticks}\n- {name: /more}\n"))
	has(t, s.ok("topic", "list", id), "/ticks", "/more")
	notes := s.fails(exitFailed, "topics.yaml:2:", "topic", "set", id, "-f", s.file("topics.yaml", "\n- {name: more}\n"))
	has(t, notes, "/name")
	s.ok("topic", "delete", id, "/more")
	s.fails(exitFailed, "/ticks", "topic", "add", id, "/ticks")
	s.fails(exitFailed, "", "topic", "delete", id, "/nothing")

	// Fields.
	has(t, s.ok("set", id, "client.retry=3s", "metadata.tags=demo,live", "--dry-run"), "would be changed", "/spec/client/retry")
	s.ok("set", id, "client.retry=3s", "metadata.tags=demo,live", "limits.maxClients=10")
	has(t, s.ok("get", "api", id), "retry: 3s", "- demo", "maxClients: 10")
	s.ok("set", id, "metadata.tags=")
	s.fails(exitUsage, `did you mean "transports"?`, "set", id, "transport=http")
	s.fails(exitUsage, "is not FIELD=VALUE", "set", id, "endpoint")
	s.fails(exitUsage, "is not a duration", "set", id, "client.retry=soon")
	s.fails(exitFailed, "/spec/client/retry", "set", id, "client.retry=2h")

	testEdit(t, s, id)

	// Life.
	has(t, s.ok("describe", "api", id), "State", "CREATED", "publish", "Endpoint", upstream)
	s.fails(exitFailed, "possible: ", "retire", id)
	if out := s.ok("publish", id, "--comment", "go"); out != id+" published\n" {
		t.Errorf("publish says %q", out)
	}
	status(t, edge+"/events/1.0.0/ticks", 200)
	has(t, s.ok("tail", "-n", "2", "-o", "json", edge+"/events/1.0.0/ticks"), `"id"`)
	s.ok("block", id)
	status(t, edge+"/events/1.0.0/ticks", 503)
	s.ok("republish", id)
	status(t, edge+"/events/1.0.0/ticks", 200)
	has(t, s.ok("history", id), "publish", "CREATED -> PUBLISHED", "block", "admin", "go")

	testRuntime(t, s, id)

	// Revisions and versions.
	s.ok("revision", "create", id, "--description", "as it was")
	n := lastRevision(t, s, id)
	s.ok("set", id, "metadata.description=changed")
	if code, out, notes := s.do("", "revision", "diff", id, n); code != exitDiffers || !strings.Contains(out, "/metadata/description") {
		t.Errorf("diff: %d, %s%s", code, out, notes)
	}
	s.ok("revision", "restore", id, n)
	if code, out, notes := s.do("", "revision", "diff", id, n); code != exitOK || out != "" {
		t.Errorf("diff after restore: %d, %s%s", code, out, notes)
	}
	has(t, s.ok("revision", "get", id, n), "kind: API")
	has(t, s.ok("deploy", id), "GROUP", "default")
	has(t, s.ok("deploy", id, "--revision", n), "deployed")
	s.fails(exitFailed, "", "revision", "delete", id, n)
	has(t, s.ok("version", "copy", id, "--version", "2.0.0"), "copied to version 2.0.0")
	has(t, s.ok("version", "list", id), "@1.0.0", "@2.0.0")
	has(t, s.ok("version", "default", "ServerSentEvents", "1.0.0"), "answers without a version as 1.0.0")
	status(t, edge+"/events/ticks", 200)
	has(t, s.ok("version", "default", "ServerSentEvents", "--none"), "has no default version")
	has(t, s.ok("version"), "sluice ")

	// AsyncAPI, on the server.
	document := s.ok("asyncapi", "export", id)
	has(t, document, "asyncapi: 3.1.0", "/ticks")
	if strings.Contains(document, strings.TrimPrefix(upstream, "http://")) {
		t.Error("the public document names the endpoint")
	}
	file := s.file("events.asyncapi.yaml", document)
	has(t, s.ok("asyncapi", "import", file, "--name", "Imported", "--context", "/imported", "--endpoint", upstream), "Imported@1.0.0 imported")
	has(t, s.ok("get", "api", "Imported@1.0.0"), "/ticks")
	s.fails(exitFailed, "", "asyncapi", "import", s.file("bad.yaml", "asyncapi: 9.0.0\n"))

	// Deleting.
	s.fails(exitFailed, "live", "delete", "api", id)
	has(t, s.ok("delete", "api", "Imported@1.0.0", "ServerSentEvents@2.0.0"), "Imported@1.0.0 deleted", "ServerSentEvents@2.0.0 deleted")
	notes = s.fails(exitFailed, "", "delete", "api", "a@1", "b@2")
	has(t, notes, "a@1: ", "b@2: ")
	s.ok("delete", "api", id, "--force")
	status(t, edge+"/events/1.0.0/ticks", 404)

	s.ok("logout")
	s.fails(exitFailed, "sign in with 'sluice login'", "whoami")
}

// testRuntime asks for what runs of a published API with the topic /ticks, and follows a change.
func testRuntime(t *testing.T, s *shell, id string) {
	t.Helper()
	for n := 0; ; n++ { // a machine that is busy may keep the edge's beats back for longer than the server waits
		code, _, notes := s.do("", "set", id, "metadata.labels.team=a", "metadata.labels.try=n"+strconv.Itoa(n), "--wait")
		if code == exitOK {
			break
		}
		if has(t, notes, "the change is made, but 0 of 1 live edges serve it; not: "); n == 5 {
			t.Fatal(notes)
		}
	}
	has(t, s.ok("get", "edges"), "EDGE", "default", "current")
	has(t, s.ok("status", id), "PUBLISHED", "1 feed", "/ticks")
	has(t, s.ok("status", id, "-o", "json"), `"path": "/ticks"`)
	s.fails(exitFailed, "Not found", "status", "nothing@1")
	s.fails(exitUsage, "--q cannot go with --watch", "get", "apis", "-w", "--q", "a")
	s.fails(exitFailed, "Not found", "get", "api", "nothing@1", "-w")
	for _, c := range []struct{ before, after string }{
		{"get apis -w -o json --label team=a", `"team":"a"`}, {"get apis -w --name ServerSentEvents", "PUBLISHED"}, {"get api " + id + " -w", "team: a"},
	} {
		out, interrupt, ended := s.follows(strings.Fields(c.before)...)
		out.awaits(t, c.after)
		s.ok("set", id, "metadata.labels.team=b")
		s.ok("set", id, "metadata.labels.team=")
		s.ok("set", id, "metadata.labels.team=a")
		out.awaits(t, c.after)
		interrupt()
		if code := <-ended; code != exitOK {
			t.Errorf("sluice %s ended with %d", c.before, code)
		}
	}
}

// lastRevision is the number of the newest revision.
func lastRevision(t *testing.T, s *shell, id string) string {
	t.Helper()
	out := strings.Fields(s.ok("revision", "list", id, "-o", "name"))
	if len(out) == 0 {
		t.Fatal("no revision")
	}
	return out[0]
}

// Whole definitions: files, folders and standard input, seen before they are written, and taken away again by set.
func TestApply(t *testing.T) {
	t.Parallel()
	server := startLive(t)
	s := newShell(t, server.url(t, "control"))
	if code, _, notes := s.do(server.password+"\n", "login"); code != exitOK {
		t.Fatal(notes)
	}
	define := func(name, more string) string {
		return "apiVersion: sluice/v1\nkind: API\nmetadata: {name: " + name + "}\nspec:\n  context: /" + name + "\n  version: 1.0.0\n  endpoint: http://127.0.0.1:9\n" + more
	}
	s.file("apis/a.yaml", define("a", "")+"---\n"+define("b", ""))
	third, err := json.Marshal(map[string]any{"apiVersion": "sluice/v1", "kind": "API", "metadata": map[string]any{"name": "c"},
		"spec": map[string]any{"context": "/c", "version": "1.0.0"}})
	if err != nil {
		t.Fatal(err)
	}
	s.file("apis/c.json", string(third))
	s.file("apis/notes.txt", "not a definition")
	dir := filepath.Join(s.dir, "apis")
	if code, out, notes := s.do("", "diff", "-f", dir, "--set", "shop"); code != exitDiffers || !strings.Contains(out, "a@1.0.0 created") {
		t.Fatalf("diff: %d, %s%s", code, out, notes)
	}
	has(t, s.ok("apply", "-f", dir, "--set", "shop", "--dry-run"), "c@1.0.0 created", "nothing was written")
	if out := s.ok("get", "apis", "-o", "name"); out != "" {
		t.Fatalf("a dry run wrote %q", out)
	}
	has(t, s.ok("apply", "-f", dir, "--set", "shop"), "a@1.0.0 created", "b@1.0.0 created", "c@1.0.0 created")
	has(t, s.ok("apply", "-f", dir, "--set", "shop"), "a@1.0.0 unchanged", "c@1.0.0 unchanged")
	if code, out, notes := s.do("", "diff", "-f", dir, "--set", "shop"); code != exitOK {
		t.Fatalf("diff of nothing: %d, %s%s", code, out, notes)
	}
	if code, out, notes := s.do(define("d", ""), "apply", "-f", "-"); code != exitOK || !strings.Contains(out, "d@1.0.0 created") {
		t.Fatalf("apply of standard input: %d, %s%s", code, out, notes)
	}

	// Wrong ones say where, and nothing of the bundle is written.
	s.file("bad/1.yaml", define("e", ""))
	bad := s.file("bad/2.yaml", define("f", "  colour: blue\n"))
	s.fails(exitFailed, bad+":8:3: /spec/colour", "apply", "-f", filepath.Dir(bad))
	s.fails(exitFailed, "Not found", "get", "api", "e@1.0.0")
	s.fails(exitFailed, "bad.json:1:", "apply", "-f", s.file("bad.json", "{"))
	s.fails(exitUsage, "no such file", "apply", "-f", filepath.Join(s.dir, "nothing"))
	s.fails(exitUsage, "no definitions", "apply", "-f", s.file("empty.yaml", "\n"))
	s.fails(exitUsage, "--prune needs --set", "apply", "-f", dir, "--prune")

	// Edited elsewhere.
	s.ok("set", "a@1.0.0", "metadata.description=by hand")
	s.file("apis/a.yaml", define("a", "  client: {retry: 5s}\n")+"---\n"+define("b", ""))
	code, out, notes := s.do("", "apply", "-f", dir, "--set", "shop")
	if code != exitFailed || !strings.Contains(out+notes, "elsewhere") {
		t.Fatalf("apply over an edit: %d, %s%s", code, out, notes)
	}
	has(t, s.ok("apply", "-f", dir, "--set", "shop", "--force"), "a@1.0.0 configured", "/spec/client/retry")

	// Pruned.
	if err := os.Remove(filepath.Join(dir, "c.json")); err != nil {
		t.Fatal(err)
	}
	has(t, s.ok("apply", "-f", dir, "--set", "shop", "--prune"), "c@1.0.0 pruned")
	has(t, s.ok("get", "apis", "-o", "name"), "a@1.0.0\nb@1.0.0\nd@1.0.0\n")
	has(t, s.ok("export", "--all"), "name: a", "name: d")
}

// Projects of WSO2 as a folder, a zip and a file, and back.
func TestImportWSO2(t *testing.T) {
	t.Parallel()
	server := startLive(t)
	s := newShell(t, server.url(t, "control"))
	if code, _, notes := s.do(server.password+"\n", "login"); code != exitOK {
		t.Fatal(notes)
	}
	const project = "../../config/wso2/testdata/full/in"
	code, definition, notes := s.do("", "import", "wso2", project, "--local")
	if code != exitOK || !strings.Contains(notes, "api.yaml:") || !strings.Contains(definition, "name: Telemetry") {
		t.Fatalf("--local: %d, %s%s", code, definition, notes)
	}
	has(t, s.ok("import", "wso2", project, "--dry-run"), "Telemetry@2.1.0 would be imported")
	s.fails(exitFailed, "Not found", "get", "api", "Telemetry@2.1.0")
	has(t, s.ok("import", "wso2", project), "Telemetry@2.1.0 imported", "warning: ")
	has(t, s.ok("get", "api", "Telemetry@2.1.0"), "/lines", "https://telemetry.plant.example/v2", "AsyncGold")
	packed := filepath.Join(s.dir, "Telemetry.zip")
	s.ok("export", "Telemetry@2.1.0", "--format", "wso2", "--to", packed)
	if all := s.ok("export", "--all") + notes; strings.Contains(all, "hunter2") {
		t.Error("a password is left")
	}
	s.ok("delete", "api", "Telemetry@2.1.0", "--force")
	has(t, s.ok("import", "wso2", packed), "Telemetry@2.1.0 imported")
	again := filepath.Join(s.dir, "again.zip")
	s.ok("export", "Telemetry@2.1.0", "--format", "wso2", "--to", again)
	first, err1 := os.ReadFile(packed)
	second, err2 := os.ReadFile(again)
	if err1 != nil || err2 != nil || string(first) != string(second) {
		t.Errorf("the second export differs: %v, %v", err1, err2)
	}
	has(t, s.ok("import", "wso2", "../../config/wso2/testdata/payload/in/payload.json"), "Orders@1.0.0 imported")
	s.fails(exitFailed, "only SSE APIs can be imported", "import", "wso2", s.file("api.yaml", "type: api\ndata: {name: A, type: HTTP}\n"))
	s.fails(exitFailed, "only SSE APIs can be imported", "import", "wso2", s.file("api.yaml", "type: api\ndata: {name: A, type: HTTP}\n"), "--local")
}

// A shell offers what the server has.
func TestCompletion(t *testing.T) {
	t.Parallel()
	server := startLive(t)
	s := newShell(t, server.url(t, "control"))
	if code, _, notes := s.do(server.password+"\n", "login"); code != exitOK {
		t.Fatal(notes)
	}
	s.ok("create", "api", "alpha", "--context", "/alpha", "--version", "1", "--topic", "/one", "--topic", "/two")
	s.ok("create", "api", "beta", "--context", "/beta", "--version", "1")
	for _, c := range []struct {
		begun string
		want  []string
	}{
		{"get api ", []string{"alpha@1", "beta@1"}},
		{"get api al", []string{"alpha@1"}},
		{"publish alpha@1 b", []string{"beta@1"}},
		{"topic delete alpha@1 /t", []string{"/two"}},
		{"set alpha@1 client.r", []string{"client.retry="}},
		{"get apis -o j", []string{"table", "json", "yaml", "name"}},
	} {
		out := s.ok(append([]string{"__complete"}, strings.Split(c.begun, " ")...)...)
		var got []string
		for line := range strings.Lines(out) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); word != "" && !strings.HasPrefix(word, ":") {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%q offers %v, want %v", c.begun, got, c.want)
		}
	}
	s.env["SLUICE_SERVER"] = "http://127.0.0.1:1"
	if out := s.ok("__complete", "get", "api", ""); !strings.HasPrefix(out, ":") {
		t.Errorf("without a server: %q", out)
	}
}

// What cannot work says so with its exit code.
func TestServerNotThere(t *testing.T) {
	s := newShell(t, "http://127.0.0.1:1")
	s.fails(exitFailed, "refused", "get", "apis")
	s.fails(exitUsage, "is not a URL", "get", "apis", "--server", "127.0.0.1:9080")
	s.fails(exitUsage, "want table, json, yaml or name", "get", "apis", "-o", "xml")
	s.fails(exitUsage, "no password", "login")
	s.fails(exitUsage, "give an ID or --all", "export")
	s.env["SLUICE_CREDENTIALS"] = s.file("broken", "{")
	s.fails(exitFailed, "stored credentials", "get", "apis")
}
