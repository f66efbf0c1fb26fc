package outbound

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

func TestFetch(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if len(r.Cookies()) > 0 || r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
			t.Errorf("request carries %v", r.Header)
		}
		n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/hop/"))
		switch {
		case r.URL.Path == "/away":
			http.Redirect(w, r, "http://10.0.0.1/x", http.StatusFound)
		case r.URL.Path == "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case n > 0:
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			http.Redirect(w, r, "/hop/"+strconv.Itoa(n-1), http.StatusFound)
		case r.URL.Path == "/404":
			http.NotFound(w, r)
		default:
			_, _ = w.Write([]byte("0123456789"))
		}
	}))
	defer srv.Close()
	open := NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")})
	for _, c := range []struct {
		path string
		most int64
		ok   bool
		is   error
		n    int32
	}{
		{"/", 10, true, nil, 1},
		{"/", 9, false, ErrTooLarge, 1},
		{"/hop/3", 10, true, nil, 4},
		{"/hop/4", 10, false, nil, 4},
		{"/404", 100, false, nil, 1},
		{"/away", 100, false, ErrForbidden, 1},
		{"/file", 100, false, ErrForbidden, 1},
	} {
		asked.Store(0)
		body, err := Fetch(t.Context(), open, srv.URL+c.path, c.most)
		if (err == nil) != c.ok || c.ok && string(body) != "0123456789" || c.is != nil && !errors.Is(err, c.is) || asked.Load() != c.n {
			t.Errorf("%s, %d bytes: %q, %v after %d requests", c.path, c.most, body, err, asked.Load())
		}
	}
	asked.Store(0)
	for _, address := range []string{srv.URL, "ftp://example.com/x", "http://u:p@example.com/", "file:///etc/passwd", "::"} {
		if _, err := Fetch(t.Context(), NewGuard(nil), address, 100); err == nil {
			t.Errorf("%s was fetched", address)
		}
	}
	if asked.Load() > 0 {
		t.Error("a forbidden address was asked")
	}
}
