package wso2

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/doc"
)

const minimal = "type: api\nversion: v4\ndata: {name: A, context: /a, version: '1', type: SSE}\n"

// pack makes an archive of entries in their order.
func pack(t *testing.T, entries ...[2]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e[0], Method: zip.Deflate})
		if err == nil {
			_, err = f.Write([]byte(e[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestZipLayouts(t *testing.T) {
	for name, entries := range map[string][][2]string{
		"at the root":         {{"api.yaml", minimal}},
		"in a folder":         {{"A-1/", ""}, {"A-1/api.yaml", minimal}, {"A-1/Docs/x/api.yaml", "other"}, {"A-1/Definitions/asyncapi.yml", "asyncapi: 2.0.0\n"}},
		"with another ending": {{"A-1/api.yml", minimal}},
		"as JSON":             {{"api.json", `{"type":"api","data":{"name":"A","context":"/a","version":"1","type":"SSE"}}`}},
	} {
		p, err := ReadZip("a.zip", pack(t, entries...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if in, err := Read(p, Options{}); err != nil || in.API.ID() != "A@1" {
			t.Errorf("%s: %v, %v", name, in, err)
		}
	}
}

// An archive that wants to be more than a few small files is refused, whatever it holds besides.
func TestHostileZips(t *testing.T) {
	good := [2]string{"api.yaml", minimal}
	many := [][2]string{good}
	for i := range maxEntries {
		many = append(many, [2]string{fmt.Sprintf("Docs/%d", i), ""})
	}
	noise := make([]byte, maxZip)
	random := rand.NewChaCha8([32]byte{})
	if _, err := random.Read(noise); err != nil {
		t.Fatal(err)
	}
	var linked bytes.Buffer
	w := zip.NewWriter(&linked)
	h := &zip.FileHeader{Name: "api.yaml"}
	h.SetMode(fs.ModeSymlink | 0o777)
	f, err := w.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("/etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	torn := pack(t, good)
	bomb := [2]string{"Definitions/asyncapi.yaml", strings.Repeat("\n", maxUnpacked+1)}
	for _, c := range []struct {
		name, code string
		data       []byte
	}{
		{"leads out", codeArchive, pack(t, good, [2]string{"../evil", "x"})},
		{"leads out below", codeArchive, pack(t, good, [2]string{"Docs/../../evil", "x"})},
		{"absolute", codeArchive, pack(t, good, [2]string{"/etc/cron.d/x", "x"})},
		{"backslashes", codeArchive, pack(t, good, [2]string{`..\evil`, "x"})},
		{"a drive", codeArchive, pack(t, good, [2]string{"C:evil", "x"})},
		{"a NUL", codeArchive, pack(t, good, [2]string{"Docs/a\x00b", "x"})},
		{"no UTF-8", codeArchive, pack(t, good, [2]string{"Docs/\xff", "x"})},
		{"an empty name", codeArchive, pack(t, good, [2]string{"", "x"})},
		{"a long name", codeArchive, pack(t, good, [2]string{strings.Repeat("d/", maxName), ""})},
		{"twice", codeArchive, pack(t, good, good)},
		{"twice in another case", codeArchive, pack(t, good, [2]string{"API.yaml", "x"})},
		{"two candidates", codeArchive, pack(t, good, [2]string{"A/api.yaml", minimal})},
		{"no api.yaml", codeArchive, pack(t, [2]string{"sluice.yaml", "x"})},
		{"api.yaml too deep", codeArchive, pack(t, [2]string{"a/b/api.yaml", minimal})},
		{"a link", codeArchive, linked.Bytes()},
		{"empty", codeArchive, nil},
		{"no archive", codeArchive, []byte("PK is not enough")},
		{"torn", codeArchive, torn[:len(torn)-10]},
		{"spoilt", codeArchive, spoil(torn)},
		{"too many entries", doc.TypeTooLarge, pack(t, many...)},
		{"too large", doc.TypeTooLarge, pack(t, good, [2]string{"Docs/noise", string(noise)})},
		{"a bomb", doc.TypeTooLarge, pack(t, good, bomb)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ReadZip("a.zip", c.data)
			var errs doc.Errors
			if !errors.As(err, &errs) || p != nil {
				t.Fatalf("answered %v, %v", p, err)
			}
			if errs[0].Type != c.code || errs[0].File != "a.zip" {
				t.Errorf("told %+v, want %s", errs[0], c.code)
			}
		})
	}
}

// spoil breaks the packed bytes of the first entry.
func spoil(packed []byte) []byte {
	out := bytes.Clone(packed)
	for i := 40; i < 50; i++ {
		out[i] ^= 0xff
	}
	return out
}

// A folder is read like an archive, and never through a link.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadFolder(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := ReadFolder(dir); err == nil {
		t.Error("an empty folder is taken")
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "api.yaml")); err != nil {
		t.Skipf("no links here: %v", err)
	}
	if p, err := ReadFolder(dir); err == nil {
		t.Errorf("a link is followed: %v", p.Files())
	}
	if err := os.Remove(filepath.Join(dir, "api.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "api.yaml"), []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if in := read1(t, p, Options{}); in.API.ID() != "A@1" {
		t.Errorf("read %s", in.API.ID())
	}
	out := filepath.Join(dir, "out")
	if err := write1(t, read1(t, p, Options{}).API).WriteFolder(out); err != nil {
		t.Fatal(err)
	}
	back, err := ReadFolder(out)
	if err != nil || len(back.Files()) != 3 {
		t.Errorf("written folder: %v, %v", back, err)
	}
}
