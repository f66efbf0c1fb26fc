package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/internal/doc"
)

// defaultServer is where verbs look for the management API.
const defaultServer = "http://127.0.0.1:9080"

// serverFlags are how a verb finds the management API and shows its answers.
type serverFlags struct {
	server    string
	tokenFile string
	output    string
	insecure  bool
}

// addServer adds the flags of a verb that asks the management API.
func addServer(c *cobra.Command) *serverFlags {
	f := &serverFlags{}
	c.Flags().StringVar(&f.server, "server", "", "URL of the management API; SLUICE_SERVER is used if set, else the server of the last login, else "+defaultServer)
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "file with a token; SLUICE_TOKEN is used if set, else what login stored")
	c.Flags().BoolVarP(&f.insecure, "insecure", "k", false, "accept any TLS certificate")
	return f
}

// addOutput is addServer for verbs with a result to show in one of several forms.
func addOutput(c *cobra.Command) *serverFlags {
	f := addServer(c)
	c.Flags().StringVarP(&f.output, "output", "o", "table", "table, json, yaml or name")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml", "name"}, cobra.ShellCompDirectiveNoFileComp))
	return f
}

// remote is one management API.
type remote struct {
	base  string
	token string // "" = none
	http  *http.Client
}

// maxAnswer bounds an answer of the server: a page of definitions, or an export of all.
const maxAnswer = 256 << 20

// newClient finds the server and the token that flags, environment and login give.
func newClient(e env, f *serverFlags) (*remote, error) {
	store, err := loadLogins(e)
	if err != nil {
		return nil, err
	}
	base, err := serverURL(e, f, store)
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	token, _ := e.lookup("SLUICE_TOKEN")
	if f.tokenFile != "" {
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, withCode(exitUsage, err)
		}
		token = strings.TrimSpace(string(text))
	}
	if token == "" {
		token = store.Servers[base].Token
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if f.insecure {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // asked for by -k
	}
	return &remote{base: base, token: token, http: &http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: noRedirect}}, nil
}

// noRedirect refuses redirects: a token goes to the server that was named, and to no other.
func noRedirect(r *http.Request, _ []*http.Request) error {
	return fmt.Errorf("the server redirects to %s", r.URL.Redacted())
}

// serverURL is the flag's, the environment's or the last login's server, without a trailing slash.
func serverURL(e env, f *serverFlags, store *logins) (string, error) {
	base := f.server
	if base == "" {
		base, _ = e.lookup("SLUICE_SERVER")
	}
	if base == "" {
		base = store.Current
	}
	if base == "" {
		base = defaultServer
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return "", fmt.Errorf("server %q is not a URL such as %s", base, defaultServer)
	}
	return strings.TrimRight(base, "/"), nil
}

// call is one request.
type call struct {
	method, path string
	query        url.Values
	body         []byte
	contentType  string // of body; default application/json
	source       string // file that body came from, for errors
	ifMatch      string
	accept       string
}

// answer is what came back with a status of success.
type answer struct {
	status int
	etag   string
	body   []byte
}

// node is the answer's document.
func (a answer) node() (*doc.Node, error) {
	d, err := doc.ParseJSON("", a.body)
	if err != nil {
		return nil, fmt.Errorf("the server's answer is no JSON: %w", err)
	}
	return d.Root, nil
}

// into decodes the answer's JSON.
func (a answer) into(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("the server's answer is not understood: %w", err)
	}
	return nil
}

// do asks once. An answer that is no success is a serverError.
func (c *remote) do(ctx context.Context, r call) (answer, error) {
	target := c.base + "/api/v1" + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, withCode(exitFailed, err)
	}
	if r.body != nil {
		if r.contentType == "" {
			r.contentType = "application/json"
		}
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.ifMatch != "" {
		req.Header.Set("If-Match", r.ifMatch)
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, withCode(exitFailed, fmt.Errorf("%s %s: %w", r.method, r.path, unwrapURL(err)))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)
	}
	if err != nil {
		return answer{}, withCode(exitFailed, fmt.Errorf("%s %s: %w", r.method, r.path, err))
	}
	if resp.StatusCode/100 != 2 {
		refused := newServerError(resp, body, r.source)
		if refused.Status == http.StatusNotFound && refused.Detail == "" {
			refused.Detail = r.nothing()
		}
		return answer{}, withCode(exitFailed, refused)
	}
	if resp.StatusCode == http.StatusAccepted && r.path != "/apply" { // that one tells what it did beside it
		reached := &edgesReached{}
		if err := json.Unmarshal(body, reached); err != nil {
			return answer{}, withCode(exitFailed, fmt.Errorf("the server's answer is not understood: %w", err))
		}
		return answer{}, withCode(exitFailed, reached)
	}
	return answer{status: resp.StatusCode, etag: resp.Header.Get("ETag"), body: body}, nil
}

// nothing tells what a request asked for that is not there; "" = it asked for no API.
func (r call) nothing() string {
	path, isAPI := strings.CutPrefix(r.path, "/apis/")
	if !isAPI {
		return ""
	}
	id, _, _ := strings.Cut(path, "/")
	id, err := url.PathUnescape(id)
	switch {
	case err != nil:
		return ""
	case !strings.Contains(id, "@"):
		return id + " is no id: that is NAME@VERSION, as 'sluice get apis' lists them"
	case path != url.PathEscape(id):
		return "no API " + id + ", or nothing of that name in it"
	}
	return "no API " + id + " that you may see"
}

// unwrapURL leaves out method and URL, which stand before it anyway.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// finding is one wrong part of a request, or one thing to know.
type finding struct {
	Type      string `json:"type"`
	Level     string `json:"level"`
	Parameter string `json:"parameter"`
	Pointer   string `json:"pointer"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	Detail    string `json:"detail"`
	Hint      string `json:"hint"`

	file string // that Line counts in; "" = the one that was sent
}

// text is `file:line:col: pointer: detail; hint`, leaving out what is not known. Without a file there is nothing that a line could count
// in: the verb wrote the body itself.
func (f finding) text(file string) string {
	at := f.Pointer
	if at == "" {
		at = f.Parameter
	}
	e := doc.Error{File: file, Line: f.Line, Column: f.Column, Pointer: at, Message: f.Detail, Hint: f.Hint}
	if f.file != "" {
		e.File = f.file
	}
	if e.File == "" || e.Line == 0 {
		e.File, e.Line = "", 0
	}
	return shown(e.Error())
}

// change is one difference between two definitions.
type change struct {
	Op      string          `json:"op"`
	Pointer string          `json:"pointer"`
	Old     json.RawMessage `json:"old"`
	New     json.RawMessage `json:"new"`
}

// serverError is an answer that tells what is wrong.
type serverError struct {
	Type    string    `json:"type"`
	Title   string    `json:"title"`
	Status  int       `json:"status"`
	Detail  string    `json:"detail"`
	Request string    `json:"instance"`
	Errors  []finding `json:"errors"`
	Allowed []string  `json:"allowed"`
	Diff    []change  `json:"diff"`

	source string
}

func newServerError(resp *http.Response, body []byte, source string) *serverError {
	p := &serverError{source: source}
	if err := json.Unmarshal(body, p); err != nil || p.Title == "" {
		p = &serverError{Title: resp.Status}
	}
	p.Status = resp.StatusCode
	return p
}

// Error is the title with the detail, then a line for each wrong part.
func (p *serverError) Error() string {
	var b strings.Builder
	b.WriteString(shown(p.Title))
	if p.Detail != "" && !p.toldBelow() {
		b.WriteString(": " + shown(p.Detail))
	}
	if p.Status == http.StatusUnauthorized {
		b.WriteString("; sign in with 'sluice login'")
	}
	if len(p.Allowed) > 0 && !strings.Contains(p.Detail, "possible") {
		b.WriteString("; possible now: " + shown(strings.Join(p.Allowed, ", ")))
	}
	for _, f := range p.Errors {
		told := strings.HasSuffix(p.Detail, f.Detail) && strings.Contains(p.Detail, f.Pointer)
		if placed := f.Line > 0 && p.source+f.file != ""; placed || !told {
			b.WriteString("\n" + f.text(p.source))
		}
	}
	for _, c := range p.Diff {
		b.WriteString("\n" + c.text())
	}
	return b.String()
}

// toldBelow tells that the only wrong part, which has a line of its own with its place, says all that the detail does.
func (p *serverError) toldBelow() bool {
	if len(p.Errors) != 1 {
		return false
	}
	f := p.Errors[0]
	return f.Line > 0 && p.source+f.file != "" && strings.HasSuffix(p.Detail, f.Detail)
}

// text is one line: + what is new, - what goes, ~ what changes.
func (c change) text() string {
	show := func(v json.RawMessage) string {
		if s := string(v); len(s) > 200 {
			return shown(s[:197]) + "..."
		}
		return shown(string(v))
	}
	switch c.Op {
	case "add":
		return fmt.Sprintf("+ %s: %s", shown(c.Pointer), show(c.New))
	case "remove":
		return fmt.Sprintf("- %s: %s", shown(c.Pointer), show(c.Old))
	}
	return fmt.Sprintf("~ %s: %s -> %s", shown(c.Pointer), show(c.Old), show(c.New))
}

// apiPath is the path of an API, or of something below it.
func apiPath(id string, below ...string) string {
	path := "/apis/" + url.PathEscape(id)
	for _, b := range below {
		path += "/" + url.PathEscape(b)
	}
	return path
}
