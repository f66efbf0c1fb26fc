package catalog

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/broker"
	"sluice/internal/doc"
	"sluice/internal/latest"
	"sluice/internal/problem"
)

// ManagerOptions are what a Manager works with.
type ManagerOptions struct {
	Options
	// Open opens the bucket, and makes it where this node may. Called until it succeeds, and again after each loss.
	Open func(ctx context.Context) (broker.Bucket, error)
	// Dir is the folder of the last good copy; "" = none is kept.
	Dir string
	// Groups are all edge groups there may be, for warnings; empty = any.
	Groups []string
	// MaxRevisions is how many revisions an API may have; 0 = 10.
	MaxRevisions int
	// Prepare makes what an API needs before it is served, its stream; an error refuses the change. nil = nothing.
	Prepare func(ctx context.Context, api *API) error
	// Forget removes what is stored of an API that was deleted; an error is logged. nil = nothing.
	Forget func(ctx context.Context, api *API) error
	// Subscriptions knows the plans that APIs offer and keeps who has subscribed; nil = plans are not checked and nobody has.
	Subscriptions Subscriptions
	// Reconcile is how often everything is compared; 0 = once a minute.
	Reconcile time.Duration
	// Lag is told what was seen and says when the watch lags; nil = nothing does.
	Lag    *broker.Lag
	Logger *slog.Logger // nil = none
	// Now is the clock of the history; nil = the system's.
	Now func() time.Time
}

// Manager is the catalog that the nodes share: it holds APIs as records in one key-value bucket of the broker, changes them, and is
// the Store of what this node serves. Every change is one atomic compare-and-set batch, so it is whole or not at all, whichever node
// makes it. Reads answer from memory, from what this node has seen of the bucket; a write returns once this node has seen it.
// Safe for concurrent use.
//
// Errors have a kind of package problem (problem.KindOf), with pointer, line and column in Errors where a document is wrong; the
// doc.Errors with hints is within (errors.As). Kinds that every method can give: NotFound for an unknown id, Unavailable and
// StoreUnavailable if the broker does not answer (nothing was written, or the answer to whether it was got lost: then the detail
// says so). Every write can give VersionMismatch if Write.Expect is not the record's revision any more.
type Manager struct {
	*view // of everything that is deployed anywhere
	opt   ManagerOptions
	log   *slog.Logger
	now   func() time.Time
	fixed Store // what a read-only Manager shows; nil = the bucket
	// floorOfFiles is what its revisions begin with.
	floorOfFiles uint64

	writing chan struct{} // a place for each change that this node makes at once
	gating  chan struct{} // capacity 1: one change through the gate at a time

	mu      sync.RWMutex
	bucket  broker.Bucket // nil until it was opened
	seen    *seen
	views   map[string]*view // by group
	list    []*Record        // sorted; nil = to be made
	moved   chan struct{}    // closed and made anew whenever seen has changed
	waiting map[string]chan struct{}
	recent  latest.Changes[*Face]
	gone    map[string]Face   // APIs that were deleted, by token
	refused map[string]uint64 // by API: records that could not be read
	loaded  bool              // the bucket was read since the start
	copied  uint64            // revision of the copy on disk, or of the last try to write one
	suspect string            // why the bucket is not believed
	why     string            // the last error of the watch
}

var _ Store = (*Manager)(nil)

// NewManager returns a Manager that knows what an earlier life of the node left in opt.Dir and shows nothing yet. It starts nothing:
// see Run.
func NewManager(opt ManagerOptions) *Manager {
	m := &Manager{opt: opt, log: opt.Logger, now: opt.Now, seen: newSeen(opt.Public), views: map[string]*view{}, moved: make(chan struct{}),
		waiting: map[string]chan struct{}{}, refused: map[string]uint64{}, gone: map[string]Face{}, writing: make(chan struct{}, mostWrites), gating: make(chan struct{}, 1)}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.now == nil {
		m.now = time.Now
	}
	if m.opt.MaxRevisions == 0 {
		m.opt.MaxRevisions = defaultKept
	}
	m.view = &view{}
	m.views[""] = m.view
	m.loadCopy()
	return m
}

// Group returns the Store of what one edge group serves. Call before Run.
func (m *Manager) Group(name string) Store {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.views[name]
	if v == nil {
		v = &view{group: name}
		if m.fixed != nil {
			v.show(m.fixed.Snapshot())
		}
		m.views[name] = v
	}
	return v
}

// Status is how a Manager does.
type Status struct {
	// Loaded is true once the bucket was read; until then what is shown is the last good copy, if anything.
	Loaded bool
	// Suspect says why the bucket is not believed, "" = it is. Then nothing can be written.
	Suspect string
	// Why is the last error of the watch, "" = it runs.
	Why string
	// Rev is the revision of the newest change seen.
	Rev uint64
	// APIs are how many records there are.
	APIs int
	// Refused counts records that could not be read, by API.
	Refused map[string]uint64
}

// Status tells how the Manager does.
func (m *Manager) Status() Status {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Status{Loaded: m.loaded, Suspect: m.suspect, Why: m.why, Rev: m.seen.rev, APIs: len(m.seen.apis), Refused: maps.Clone(m.refused)}
}

// Get returns the record of an API version, id `<name>@<version>`. NotFound.
func (m *Manager) Get(id string) (*Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e := m.seen.find(id); e != nil {
		return e.rec, nil
	}
	return nil, noSuchAPI(id)
}

func noSuchAPI(id string) error {
	return &problem.Error{Kind: problem.NotFound, Detail: "There is no API " + clip(id) + "."}
}

// List returns all records by name, then version. The slice is shared: do not change it.
func (m *Manager) List() []*Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.list == nil {
		m.list = m.seen.sorted()
	}
	return m.list
}

// Rev is the revision of the newest change that this node has seen.
func (m *Manager) Rev() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.seen.rev
}

// Validate checks one definition as Create would, without writing or asking what else exists, and returns the warnings. The error is
// as of Create.
func (m *Manager) Validate(src Source) (warnings []*doc.Error, err error) {
	in, err := m.read(src)
	if err != nil {
		return nil, err
	}
	if in.api.Spec.Topics == nil {
		in.api.Spec.Topics = []Topic{anyTopic()}
	}
	return m.examine(in.definition, in.unread, nil)
}

// Availability tells what of a new API is free; each may be empty.
func (m *Manager) Availability(name, context, version string) Availability {
	a := Availability{Name: free, Context: free, Version: free}
	probe := newAPI()
	probe.APIVersion, probe.Kind = APIVersion, KindAPI
	probe.Metadata.Name, probe.Spec.Context, probe.Spec.Version = cmpOr(name, "a"), cmpOr(context, "/a"), cmpOr(version, "1")
	c := checker{api: probe}
	c.metadata()
	c.context()
	bad := func(f *FieldAvailability, given, pointer string) {
		for _, e := range c.errs {
			if e.Pointer == pointer && given != "" {
				*f = FieldAvailability{Status: "invalid", Detail: e.Message}
			}
		}
	}
	bad(&a.Name, name, "/metadata/name")
	bad(&a.Context, context, "/spec/context")
	bad(&a.Version, version, "/spec/version")
	if len(c.errs) > 0 {
		return a
	}
	if context != "" && (version != "" || strings.Contains(context, versionSegment)) {
		a.BasePath = probe.BasePath()
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	versions := m.seen.family(probe.Name())
	if len(versions) > 0 && name != "" {
		a.Name = FieldAvailability{Status: "taken", Detail: "Another version of this name exists."}
	}
	for _, err := range m.seen.clashes(probe, "", Actor{Admin: true}) {
		f := FieldAvailability{Status: "taken", Detail: err.Message}
		switch {
		case err.Type == string(VersionConflict) && version != "" && name != "":
			a.Version = f
		case (err.Type == string(ContextConflict) || err.Type == string(ContextDiffers)) && context != "":
			a.Context = f
		}
	}
	return a
}

var free = FieldAvailability{Status: "free"}

func cmpOr(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Family returns all versions of a name, case ignored. NotFound.
func (m *Manager) Family(name string) (Family, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	versions := m.seen.family(name)
	if len(versions) == 0 {
		return Family{}, &problem.Error{Kind: problem.NotFound, Detail: "There is no API of the name " + clip(name) + "."}
	}
	f := Family{Name: versions[0].rec.API.Name(), Context: versions[0].rec.API.Spec.Context}
	for _, e := range versions {
		f.Versions = append(f.Versions, e.rec.API.Version())
		if e.Default {
			f.DefaultVersion = e.rec.API.Version()
		}
	}
	f.Tag = familyTag(versions)
	return f, nil
}

// familyTag is Family.Tag. All that goes into it is changed through the gate.
func familyTag(versions []*entryAPI) uint64 {
	h := fnv.New64a()
	for _, e := range versions {
		fmt.Fprintf(h, "%s %s %s %t\n", e.rec.ID(), e.UID, e.rec.API.Spec.Context, e.Default)
	}
	return max(h.Sum64(), 1)
}

// Revision returns one revision of an API. NotFound.
func (m *Manager) Revision(id string, n int) (*Revision, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	e := m.seen.find(id)
	if e == nil {
		return nil, noSuchAPI(id)
	}
	info, there := e.revision(n)
	if !there {
		return nil, noSuchRevision(id, n)
	}
	text, api, err := m.seen.definition(tokenOf(id), &e.stored, n)
	if err != nil {
		if errors.Is(err, errRevisionMissing) {
			err = &problem.Error{Kind: problem.Unavailable, Detail: "This node has not seen the revision yet.", Err: err}
		}
		return nil, err
	}
	r := &Revision{RevisionInfo: info, API: api, Definition: text.Definition, Groups: []string{}}
	for g, at := range e.Deployments {
		if at == n {
			r.Groups = append(r.Groups, g)
		}
	}
	slices.Sort(r.Groups)
	return r, nil
}

// DiffRevision tells what changed from revision against to revision n; 0 stands for the working copy. NotFound.
func (m *Manager) DiffRevision(id string, n, against int) ([]Change, error) {
	text := func(n int) ([]byte, error) {
		if n == 0 {
			rec, err := m.Get(id)
			if err != nil {
				return nil, err
			}
			return frozenOf(rec.API)
		}
		r, err := m.Revision(id, n)
		if err != nil {
			return nil, err
		}
		return r.Definition, nil
	}
	from, err := text(against)
	if err != nil {
		return nil, err
	}
	to, err := text(n)
	if err != nil {
		return nil, err
	}
	return diffOf(from, to)
}
