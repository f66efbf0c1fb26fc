package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// verb runs one command line.
func verb(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), args, env{stdout: &out, stderr: &errs, lookup: func(string) (string, bool) { return "", false }})
	return code, out.String(), errs.String()
}

// The example definition goes out as a document, which is valid and comes back as the same definition.
func TestAsyncAPIVerbs(t *testing.T) {
	const example = "../../deploy/examples/apis/market.yaml"
	dir := t.TempDir()
	code, text, errs := verb("asyncapi", "export", example, "--profile", "internal", "--endpoint", "--server-url", "https://edge.example.com")
	if code != exitOK || errs != "" || !strings.HasPrefix(text, "asyncapi: 3.1.0\n") || !strings.Contains(text, "host: edge.example.com") {
		t.Fatalf("%d, %s, %s", code, errs, text)
	}
	file := filepath.Join(dir, "market.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := verb("asyncapi", "validate", file, file); code != exitOK || out != file+": ok\n"+file+": ok\n" || errs != "" {
		t.Errorf("%d, %s, %s", code, out, errs)
	}
	code, definition, errs := verb("asyncapi", "import", file)
	if code != exitOK || errs != "" || !strings.Contains(definition, "endpoint: http://127.0.0.1:8090\n") {
		t.Fatalf("%d, %s, %s", code, errs, definition)
	}
	back := filepath.Join(dir, "back.yaml")
	if err := os.WriteFile(back, []byte(definition), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, again, errs := verb("asyncapi", "export", back, "--profile", "internal", "--endpoint", "--server-url", "https://edge.example.com"); code != exitOK || again != text {
		t.Errorf("%d, %s, %s", code, errs, again)
	}
	code, text, errs = verb("asyncapi", "export", example, "--asyncapi", "2.6.0", "-o", "json")
	if code != exitOK || !strings.HasPrefix(text, "{\n  \"asyncapi\": \"2.6.0\",") || strings.Contains(text, "8090") {
		t.Errorf("%d, %s, %s", code, errs, text)
	}
}

func TestAsyncAPIVerbsTellMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	bad := write("bad.yaml", "asyncapi: 2.6.0\ninfo: {title: t, versoin: '1'}\nchannels: {}\n")
	pub := write("pub.yaml", "asyncapi: 2.6.0\ninfo: {title: x, version: '1'}\nchannels: {/a: {publish: {}}}\n")
	two := write("two.yaml", strings.Repeat("---\napiVersion: sluice/v1\nkind: API\nmetadata: {name: a}\nspec: {context: /a, version: '1'}\n", 1)+
		"---\napiVersion: sluice/v1\nkind: API\nmetadata: {name: a}\nspec: {context: /a, version: '2'}\n")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"validate", bad}, exitFailed, bad + ":2:7: /info: lacks the field version\n" + bad + ":2:18: /info/versoin: unknown field; did you mean \"version\"?\n"},
		{[]string{"validate", filepath.Join(dir, "none.yaml")}, exitFailed, "none.yaml"},
		{[]string{"validate", "http://169.254.169.254/x"}, exitFailed, "forbidden"},
		{[]string{"validate"}, exitUsage, "requires at least 1 arg"},
		{[]string{"import", pub}, exitFailed, pub + ":3:26: /channels/~1a/publish: is the channel's only operation"},
		{[]string{"import", pub, "-o", "xml", "--lenient"}, exitUsage, "want yaml or json"},
		{[]string{"export", two}, exitUsage, "defines a@1, a@2: name one with --api"},
		{[]string{"export", two, "--api", "a@2", "--profile", "secret"}, exitUsage, "profile"},
		{[]string{"export", bad}, exitInvalid, "lacks apiVersion"},
	} {
		code, out, errs := verb(append([]string{"asyncapi"}, c.args...)...)
		if code != c.code || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%v: %d, %s%s", c.args, code, out, errs)
		}
	}
	if code, out, errs := verb("asyncapi", "export", two, "--api", "a@2"); code != exitOK || !strings.Contains(out, "version: '2'") {
		t.Errorf("%d, %s", code, errs)
	}
	if code, out, errs := verb("asyncapi", "import", pub, "--lenient"); code != exitOK || !strings.Contains(out, "name: x") || !strings.Contains(errs, "warning: ") {
		t.Errorf("%d, %s%s", code, out, errs)
	}
}
