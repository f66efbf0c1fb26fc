package problem

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWrappedKindGivesItsAnswerAndNothingElse(t *testing.T) {
	err := fmt.Errorf("open /secret/path for bob: %w", fmt.Errorf("lookup: %w", NoSuchAPI))
	got := string(From(err, "r1").JSON())
	want := `{"type":"/problems/no-such-api","title":"No such API","status":404,"instance":"r1"}`
	if got != want {
		t.Errorf("body\n%s\nwant\n%s", got, want)
	}
}

func TestErrorTellsDetailAndPartsButNotItsCause(t *testing.T) {
	err := fmt.Errorf("stream: %w", &Error{Kind: InvalidQuery, Detail: "One parameter is wrong.",
		Errors: []Part{{Parameter: "since", Reason: "not RFC 3339"}}, Err: io.ErrUnexpectedEOF})
	got := string(From(err, "").JSON())
	want := `{"type":"/problems/invalid-query","title":"Invalid query","status":400,"detail":"One parameter is wrong.",` +
		`"errors":[{"parameter":"since","reason":"not RFC 3339"}]}`
	if got != want {
		t.Errorf("body\n%s\nwant\n%s", got, want)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, InvalidQuery) {
		t.Error("cause or kind lost from the chain")
	}
	if !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("log text %q lacks the cause", err)
	}
}

func TestUnknownErrorsAreInternalAndSayNothing(t *testing.T) {
	for _, err := range []error{io.EOF, Kind("made-up"), fmt.Errorf("db password x: %w", io.EOF)} {
		want := Problem{Type: "/problems/internal", Title: "Internal error", Status: 500, Kind: KindOf(err), Close: true}
		if diff := cmp.Diff(want, From(err, "")); diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
	}
}

func TestErrorInsideAKindChainWins(t *testing.T) {
	err := fmt.Errorf("%w: %w", NotFound, &Error{Kind: Overloaded, RetryAfter: 3 * time.Second})
	p := From(err, "")
	if p.Kind != Overloaded || p.Status != 503 || p.RetryAfter != 3*time.Second {
		t.Errorf("got %+v", p)
	}
}

func TestTable(t *testing.T) {
	sheddable := map[Kind]bool{Overloaded: true, Draining: true, TooManyConnections: true, TooManyFeeds: true, QuotaExceeded: true,
		QuotaUnavailable: true, BrokerUnavailable: true, KeysUnavailable: true, NotReady: true}
	closing := map[Kind]bool{URITooLong: true, UnexpectedBody: true, Draining: true, Internal: true}
	titles := map[string]Kind{}
	for k, e := range rows {
		if http.StatusText(e.status) == "" || e.status < 400 {
			t.Errorf("%s: status %d", k, e.status)
		}
		if other, twice := titles[e.title]; twice || e.title == "" {
			t.Errorf("%s: title %q, also of %s", k, e.title, other)
		}
		titles[e.title] = k
		if k.Sheddable() != sheddable[k] {
			t.Errorf("%s: sheddable %v", k, k.Sheddable())
		}
		if k.Closes() != closing[k] {
			t.Errorf("%s: closes %v", k, k.Closes())
		}
		if k.Sheddable() && e.status != 429 && e.status != 503 {
			t.Errorf("%s: sheddable with status %d", k, e.status)
		}
	}
	if NotFound.Type() != "about:blank" || Denied.Type() != "/problems/denied" {
		t.Errorf("types %s, %s", NotFound.Type(), Denied.Type())
	}
	if p := From(APIBlocked, ""); p.RetryAfter != time.Minute {
		t.Errorf("api-blocked retries after %v", p.RetryAfter)
	}
}

// The log tells each thing once.
func TestErrorSaysThingsOnce(t *testing.T) {
	part := Part{Pointer: "/spec/context", Reason: `starts with "api"`}
	for want, e := range map[string]*Error{
		`forbidden: /spec/context starts with "api"`: {Kind: Forbidden, Detail: `/spec/context starts with "api"`, Errors: []Part{part},
			Err: errors.New(`body.json:1:86: /spec/context: starts with "api"`)},
		`forbidden: /spec/context: starts with "api": disk full`: {Kind: Forbidden, Errors: []Part{part}, Err: errors.New("disk full")},
		`forbidden: no: /spec/context: starts with "api"`:        {Kind: Forbidden, Detail: "no", Errors: []Part{part}},
		`forbidden: boom`: {Kind: Forbidden, Err: errors.New("boom")},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
