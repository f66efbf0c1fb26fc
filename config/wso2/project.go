package wso2

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sluice/internal/doc"
)

// Bounds of a project.
const (
	maxZip      = 4 << 20
	maxUnpacked = 16 << 20
	maxEntries  = 200
	maxName     = 512
)

// The problem slugs of errors about a project as such.
const (
	codeArchive  = "invalid-archive"
	codeDocument = "invalid-document"
)

// Project is the files of one API project, in memory.
type Project struct {
	// files holds what is read, by slash-separated path below the folder of api.yaml.
	files map[string][]byte
	// left are the paths that nothing here reads, sorted.
	left []string
}

// Files lists the paths of the files that are read or written, sorted.
func (p *Project) Files() []string { return slices.Sorted(maps.Keys(p.files)) }

// File returns the content of one file; nil if the project lacks it.
func (p *Project) File(name string) []byte { return p.files[name] }

// Single makes a project of one document: an api.yaml, or the JSON of the publisher's REST API. Name is used in errors.
func Single(name string, data []byte) (*Project, error) {
	if len(data) > maxZip {
		return nil, archiveError(name, doc.TypeTooLarge, "is larger than %d MiB", maxZip>>20)
	}
	if name = path.Base(filepath.ToSlash(name)); name == "." || name == "/" {
		name = apiYAML
	}
	return &Project{files: map[string][]byte{name: data}}, nil
}

// IsZip tells whether data begins as an archive does.
func IsZip(data []byte) bool { return bytes.HasPrefix(data, []byte("PK")) }

func archiveError(file, code, format string, args ...any) error {
	return doc.Errors{{File: file, Type: code, Message: fmt.Sprintf(format, args...)}}
}

// ReadZip reads an archive as apictl and the publisher's export make them: api.yaml at its root or in its only folder. Nothing is
// written anywhere. It refuses paths that lead out of the archive, links, doubled names and whatever exceeds the bounds.
func ReadZip(name string, data []byte) (*Project, error) {
	if len(data) > maxZip {
		return nil, archiveError(name, doc.TypeTooLarge, "is larger than %d MiB", maxZip>>20)
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, archiveError(name, codeArchive, "is no zip archive: %v", err)
	}
	if len(r.File) > maxEntries {
		return nil, archiveError(name, doc.TypeTooLarge, "has %d entries; at most %d are read", len(r.File), maxEntries)
	}
	g := gatherer{archive: name, found: map[string][]byte{}, seen: map[string]bool{}}
	for _, f := range r.File {
		if err := g.entry(f.Name, f.Mode(), f.Open); err != nil {
			return nil, err
		}
	}
	return g.project()
}

// ReadFolder reads a project folder. Links are refused, so that nothing outside the folder is read.
func ReadFolder(dir string) (*Project, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	g := gatherer{archive: dir, found: map[string][]byte{}, seen: map[string]bool{}}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return g.entry(name, d.Type(), func() (io.ReadCloser, error) { return root.Open(filepath.FromSlash(name)) })
	})
	if err != nil {
		return nil, err
	}
	return g.project()
}

// gatherer collects the entries of an archive or folder within the bounds.
type gatherer struct {
	archive string
	found   map[string][]byte
	left    []string
	seen    map[string]bool // names, lower case
	size    int64
}

// entry takes in one file. Only files that may be read later are unpacked.
func (g *gatherer) entry(name string, mode fs.FileMode, open func() (io.ReadCloser, error)) error {
	if err := g.name(name); err != nil {
		return err
	}
	if mode.IsDir() || strings.HasSuffix(name, "/") {
		return nil
	}
	if !mode.IsRegular() {
		return archiveError(g.archive, codeArchive, "entry %q is neither a file nor a folder", clip(name))
	}
	if !known(path.Base(name)) {
		g.left = append(g.left, name)
		return nil
	}
	in, err := open()
	if err != nil {
		return archiveError(g.archive, codeArchive, "entry %q cannot be opened: %v", clip(name), err)
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxUnpacked-g.size+1))
	if err != nil {
		return archiveError(g.archive, codeArchive, "entry %q cannot be read: %v", clip(name), err)
	}
	if g.size += int64(len(data)); g.size > maxUnpacked {
		return archiveError(g.archive, doc.TypeTooLarge, "unpacks to more than %d MiB", maxUnpacked>>20)
	}
	g.found[name] = data
	return nil
}

// name refuses what is no plain relative path, or is there twice, be it in another case.
func (g *gatherer) name(name string) error {
	plain := strings.TrimSuffix(name, "/")
	if len(name) > maxName || !utf8.ValidString(name) || !fs.ValidPath(plain) || strings.ContainsAny(name, "\\:\x00") {
		return archiveError(g.archive, codeArchive, "entry %q is no plain path below the archive", clip(strings.ToValidUTF8(name, "?")))
	}
	if g.seen[strings.ToLower(name)] {
		return archiveError(g.archive, codeArchive, "entry %q is there twice", clip(name))
	}
	if g.seen[strings.ToLower(name)] = true; len(g.seen) > maxEntries {
		return archiveError(g.archive, doc.TypeTooLarge, "has more than %d entries", maxEntries)
	}
	return nil
}

// The files of a project that are read.
const (
	apiYAML     = "api.yaml"
	nativeYAML  = "sluice.yaml"
	asyncYAML   = "Definitions/asyncapi.yaml"
	environYAML = "deployment_environments.yaml"
)

// known tells the base names of files that are read.
func known(base string) bool {
	ext := path.Ext(base)
	return slices.Contains([]string{"api", "sluice", "asyncapi", "deployment_environments"}, strings.TrimSuffix(base, ext)) &&
		slices.Contains([]string{".yaml", ".yml", ".json"}, ext)
}

// project takes the files below the folder that holds api.yaml.
func (g *gatherer) project() (*Project, error) {
	base, count := "", 0
	for name := range g.found {
		if dir, file := path.Split(name); strings.TrimSuffix(file, path.Ext(file)) == "api" && strings.Count(dir, "/") <= 1 {
			base, count = dir, count+1
		}
	}
	if count == 0 {
		return nil, archiveError(g.archive, codeArchive, "has no api.yaml, at its root or in its only folder")
	}
	if count > 1 {
		return nil, archiveError(g.archive, codeArchive, "has %d files that could be its api.yaml", count)
	}
	p := &Project{files: map[string][]byte{}}
	for name, data := range g.found {
		rest, below := strings.CutPrefix(name, base)
		if place := canonical(rest); below && place != "" {
			p.files[place] = data
		} else {
			p.left = append(p.left, rest)
		}
	}
	for _, name := range g.left {
		p.left = append(p.left, strings.TrimPrefix(name, base))
	}
	slices.Sort(p.left)
	return p, nil
}

// canonical is the path under which a file is found again, whichever of its endings it has; "" for files at other places.
func canonical(name string) string {
	for _, at := range []string{apiYAML, nativeYAML, asyncYAML, environYAML} {
		if strings.TrimSuffix(name, path.Ext(name)) == strings.TrimSuffix(at, ".yaml") {
			return strings.TrimSuffix(at, ".yaml") + path.Ext(name)
		}
	}
	return ""
}

// find returns a file by its path without the ending, and its whole path.
func (p *Project) find(stem string) (name string, data []byte) {
	for _, ext := range []string{".yaml", ".yml", ".json"} {
		if data, ok := p.files[stem+ext]; ok {
			return stem + ext, data
		}
	}
	return "", nil
}

// Zip packs the project below one folder, the same bytes for the same content.
func (p *Project) Zip(folder string) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range p.Files() {
		h := &zip.FileHeader{Name: path.Join(folder, name), Method: zip.Deflate, Modified: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
		h.SetMode(0o644)
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write(p.files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack project: %w", err)
	}
	return out.Bytes(), nil
}

// WriteFolder writes the project's files below dir, which is made if it is missing.
func (p *Project) WriteFolder(dir string) error {
	for _, name := range p.Files() {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, p.files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}
