package catalog

// Snapshot is an immutable view of all APIs. Safe for any number of readers; one request sees one snapshot.
//
//	Match(escapedPath, rawQuery string) (Route, error)  what a request leads to
//	Feed(ref FeedRef) (Route, error)                    the same for a demanded feed
//	AlwaysOn() []Route                                  feeds that run with nobody listening
//	API(name, version string) *API                      nil when there is none
//	APIs() []*API                                       all, by name, then version
type Snapshot struct {
	revision uint64
	apis     []*API
}

// Revision counts the snapshots of a Store; 0 is the empty one before the first load.
func (s *Snapshot) Revision() uint64 { return s.revision }

// APIs returns all APIs by name, then version. The slice is shared: do not change it.
func (s *Snapshot) APIs() []*API { return s.apis }
