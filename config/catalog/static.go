package catalog

import "sync"

// StaticStore is a Store over definitions given as bytes: for demos and tests.
type StaticStore struct {
	board
	opt Options
	mu  sync.Mutex // one Replace at a time
}

// NewStatic checks the sources together and returns a store of them. The error, a doc.Errors, has everything that is wrong.
func NewStatic(opt Options, sources ...Source) (*StaticStore, error) {
	s := &StaticStore{opt: opt}
	if _, err := s.Replace(sources...); err != nil {
		return nil, err
	}
	return s, nil
}

// Replace puts other sources in the place of all earlier ones. On error nothing changes.
func (s *StaticStore) Replace(sources ...Source) (Diff, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.Snapshot()
	next, err := build(sources, s.opt, old)
	if err != nil {
		return Diff{}, err
	}
	s.show(next)
	return Compare(old, next), nil
}
