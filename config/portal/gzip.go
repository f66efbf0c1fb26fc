package portal

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"path"
	"slices"
	"strings"
)

// compress gzips what gains by it, if the browser takes that, and says so in h. Pages are opened by few people: nothing is kept.
func compress(h http.Header, r *http.Request, name string, data []byte) []byte {
	if !slices.Contains([]string{".js", ".css", ".svg", ".html"}, path.Ext(name)) || len(data) < 1024 {
		return data
	}
	h.Set("Vary", "Accept-Encoding")
	takes := slices.ContainsFunc(strings.Split(r.Header.Get("Accept-Encoding"), ","), func(e string) bool {
		coding, q, _ := strings.Cut(strings.TrimSpace(e), ";")
		return coding == "gzip" && strings.TrimSpace(q) != "q=0"
	})
	if !takes {
		return data
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(data); err != nil {
		return data
	}
	if err := z.Close(); err != nil {
		return data
	}
	h.Set("Content-Encoding", "gzip")
	return out.Bytes()
}
