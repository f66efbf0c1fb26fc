package conformance

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// curl runs curl -N until the test has read what it wants; stop ends it.
func curl(t *testing.T, args ...string) (out *bufio.Reader, stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := exec.CommandContext(ctx, "curl", append([]string{"-sS", "-N"}, args...)...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(pipe), func() { cancel(); _ = cmd.Wait() }
}

// TestCurl sees the first bytes as they are documented, each event when it is produced and not later, and resumes by
// header.
func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "curl", "install the package curl")
	}
	t.Parallel()
	p, endpoint := startTapes(t)
	g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")})
	url := g.url("/tapes/1.0.0/t/a")
	p.allow("a", 1)
	out, stop := curl(t, url)
	defer stop()
	first := make([]byte, 0, 256)
	lines := 0
	for lines < 6 { // retry, event, two data lines, id, blank
		line, err := out.ReadBytes('\n')
		if err != nil {
			t.Fatalf("after %q: %v", first, err)
		}
		first = append(first, line...)
		lines++
	}
	want := regexp.MustCompile(`^retry: [0-9]{3,4}\nevent: tick\ndata: \{"n":1,\ndata: "café":"☕"\}\nid: [0-9a-z]+-[0-9a-z]+\n\n$`)
	if !want.Match(first) {
		t.Errorf("first bytes %q, want %s", first, want)
	}
	// Each further event is produced only once the one before has arrived, so nothing may wait in a buffer.
	s := &strict{r: out, retry: "seen"}
	var ids []string
	for n := 2; n <= 20; n++ {
		p.allow("a", n)
		ev, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantTape(n)[n-1:], withoutIDs([]event{ev})); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		ids = append(ids, ev.ID)
	}
	resumed, stopResumed := curl(t, "-H", "Last-Event-ID: "+ids[8], url)
	defer stopResumed()
	s = &strict{r: resumed}
	for i := 9; i < len(ids); i++ {
		ev, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if ev.ID != ids[i] {
			t.Fatalf("resumed after %s: got %s, want %s", ids[8], ev.ID, ids[i])
		}
	}
}

// TestCurlHead compares the response head with the documented one.
func TestCurlHead(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "curl", "install the package curl")
	}
	t.Parallel()
	_, endpoint := startTapes(t)
	g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")})
	out, stop := curl(t, "--head", g.url("/tapes/1.0.0/t/a"))
	defer stop()
	raw, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`^HTTP/1\.1 200 OK\r\n`, `(?i)\r\nContent-Type: text/event-stream\r\n`,
		`(?i)\r\nCache-Control: no-cache, no-store, no-transform\r\n`, `(?i)\r\nX-Accel-Buffering: no\r\n`,
		`(?i)\r\nX-Content-Type-Options: nosniff\r\n`, `(?i)\r\nX-Request-Id: [^\r]+\r\n`, `(?i)\r\nDate: [^\r]+\r\n`,
		`(?i)\r\nConnection: close\r\n`,
	} {
		if !regexp.MustCompile(want).Match(raw) {
			t.Errorf("head lacks %s:\n%s", want, raw)
		}
	}
	for _, not := range []string{`(?i)\r\n(Content-Length|Server|Set-Cookie|Content-Encoding):`} {
		if regexp.MustCompile(not).Match(raw) {
			t.Errorf("head has %s:\n%s", not, raw)
		}
	}
}
