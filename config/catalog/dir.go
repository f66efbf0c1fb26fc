package catalog

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sluice/internal/doc"
)

// Bounds of a folder of definitions.
const (
	maxDirFiles  = 10_000
	maxFileBytes = 16 << 20
)

// DirStore is a Store over a folder of API definition files: *.yaml, *.yml (streams of documents) and *.json, not below it, names
// starting with a dot left out. It reads at OpenDir and at each Reload, never by itself.
type DirStore struct {
	board
	dir string
	opt Options
	mu  sync.Mutex // one Reload at a time
}

// OpenDir reads the folder and returns a store of it. The error, a doc.Errors for wrong definitions, has everything that is wrong in
// all files. A folder without definitions is an empty store.
func OpenDir(dir string, opt Options) (*DirStore, error) {
	s := &DirStore{dir: dir, opt: opt}
	if _, err := s.Reload(context.Background()); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the folder again, checks everything together and then makes it the current snapshot. On error, or when ctx ends
// first, the last good snapshot stays. A folder that has become empty is an error too: it is more often a mount that is not there
// than a wish to take every API down.
func (s *DirStore) Reload(ctx context.Context) (Diff, error) {
	return s.ReloadAfter(ctx, func(*Snapshot) {})
}

// ReloadAfter is Reload, and calls prepare with the new snapshot before anybody else sees it: what its APIs need can be made
// first. It is not called if something is wrong.
func (s *DirStore) ReloadAfter(ctx context.Context, prepare func(*Snapshot)) (Diff, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.Snapshot()
	sources, err := readDir(ctx, s.dir)
	if err != nil {
		return Diff{}, err
	}
	if len(sources) == 0 && len(old.apis) > 0 {
		return Diff{}, fmt.Errorf("folder %s has no definition files any more; keeping the %d APIs read before", s.dir, len(old.apis))
	}
	next, err := build(sources, s.opt, old)
	if err != nil {
		return Diff{}, err
	}
	if err := ctx.Err(); err != nil {
		return Diff{}, err
	}
	prepare(next)
	s.show(next)
	return Compare(old, next), nil
}

func readDir(ctx context.Context, dir string) ([]Source, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("read API definitions: %w", err)
	}
	var out []Source
	var errs doc.Errors
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ext := strings.ToLower(filepath.Ext(e.Name()))
		if strings.HasPrefix(e.Name(), ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if st, err := os.Stat(path); err == nil && st.IsDir() { // through links, as mounted volumes use them
			continue
		}
		if len(out) == maxDirFiles {
			return nil, fmt.Errorf("folder %s has more than %d definition files", dir, maxDirFiles)
		}
		data, err := readFile(path)
		if err != nil {
			errs = append(errs, &doc.Error{File: path, Message: err.Error()})
			continue
		}
		out = append(out, Source{Name: path, Data: data})
	}
	return out, errs.Err()
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("is larger than %d MiB", maxFileBytes>>20)
	}
	return data, err
}
