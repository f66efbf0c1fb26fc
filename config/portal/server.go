package portal

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strings"

	"sluice/internal/auth"
)

//go:embed all:static
var static embed.FS

// Path is where the portal lies on the control listener.
const Path = "/portal/"

// nonceMark stands in the built page where the nonce of its policy goes.
var nonceMark = []byte("CSP-NONCE")

// Deps are what a Server is made from.
type Deps struct {
	Accounts *auth.Accounts
	// Target tells how the streams of an API are reached, by its id; false = no such API is served. Nil = no try-out.
	Target func(id string) (Target, bool)
	Logger *slog.Logger
	// Files replaces what was built in; nil = that.
	Files fs.FS
}

// Server answers everything below Path. Make it with New. Safe for concurrent use; it starts nothing.
type Server struct {
	files    fs.FS
	built    bool
	page     []byte
	accounts *auth.Accounts
	log      *slog.Logger
	try      *try
}

// New looks for the built pages; without them the placeholder is served.
func New(d Deps) (*Server, error) {
	if d.Accounts == nil {
		return nil, errors.New("portal: accounts are needed")
	}
	files := d.Files
	if files == nil {
		sub, err := fs.Sub(static, "static")
		if err != nil {
			return nil, err
		}
		files = sub
	}
	s := &Server{accounts: d.Accounts, log: d.Logger, try: newTry(d.Target, d.Logger)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	app, err := fs.Sub(files, "app")
	if err != nil {
		return nil, err
	}
	s.files = app
	s.page, err = fs.ReadFile(app, "index.html")
	if s.built = err == nil; s.built {
		return s, nil
	}
	s.page, err = fs.ReadFile(files, "placeholder.html")
	return s, err
}

// Built tells whether the pages are in this program.
func (s *Server) Built() bool { return s.built }

// ServeHTTP answers a page, a file of it, or a stream to try.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, below := strings.CutPrefix(r.URL.Path, Path)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	switch {
	case !below:
		http.NotFound(w, r)
	case strings.HasPrefix(name, tryPath):
		s.stream(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "GET and HEAD only", http.StatusMethodNotAllowed)
	case path.Ext(name) != "" && s.built && name != "index.html" && !strings.HasPrefix(name, "apis/") && !strings.HasPrefix(name, "dev/"):
		s.file(w, r, name)
	default:
		s.index(w, r) // the page reads the rest of its address itself
	}
}

// index answers the page, with a policy of its own: scripts are files of this origin, styles those and what carries the nonce.
func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	text := base64.RawURLEncoding.EncodeToString(nonce)
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-"+text+"'; img-src 'self' data:; "+
		"connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(bytes.ReplaceAll(s.page, nonceMark, []byte(text))) // a client that left needs nothing
	}
}

// file answers one built file. Their names under assets/ change with their content, so browsers keep them.
func (s *Server) file(w http.ResponseWriter, r *http.Request, name string) {
	data, err := fs.ReadFile(s.files, path.Clean(name))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'") // of an image opened by itself
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(name, "assets/") {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	data = compress(h, r, name, data)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(data) // a client that left needs nothing
	}
}
