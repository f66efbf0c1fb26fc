package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"sluice/internal/broker"
)

// byFile is who made what a read-only Manager shows.
const byFile = "files"

// NewReadOnly returns a Manager over the APIs of another Store, such as a folder of definitions: everything can be read of it, with the
// one revision that each API then has, deployed to its edge groups. Every change is refused with kind ReadOnly and why, which should say
// where the definitions come from. Run follows the store.
func NewReadOnly(from Store, opt Options, why string) *Manager {
	m := NewManager(ManagerOptions{Options: opt})
	m.fixed, m.why = from, why
	m.floorOfFiles = uint64(m.now().UnixMicro()) //nolint:gosec // after 1970
	m.take(from.Snapshot())
	return m
}

// followStore shows what the store shows until ctx ends.
func (m *Manager) followStore(ctx context.Context) error {
	for snap := range m.fixed.Watch(ctx) {
		m.take(snap)
	}
	return ctx.Err()
}

// take makes what is seen of a snapshot. Revisions begin with the start of the process, so that none comes again after a restart.
func (m *Manager) take(snap *Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, now := newSeen(m.opt.Public), m.now().UTC()
	next.rev = m.floorOfFiles + snap.Revision()
	for _, api := range snap.APIs() {
		if err := next.add(api, m.seen, now); err != nil {
			m.refuse(apiPrefix+apiToken(api.Name(), api.Version()), err)
		}
	}
	for token, e := range m.seen.apis {
		if next.apis[token] == nil {
			next.entries[apiPrefix+token] = broker.Entry{Key: apiPrefix + token, Deleted: true, Revision: next.rev}
			m.noteGone(token, e.rec.Face())
		}
	}
	m.seen, m.list, m.loaded = next, nil, true
	m.recent.Forget(next.rev)
	for _, v := range m.views {
		v.show(snap)
	}
	close(m.moved)
	m.moved = make(chan struct{})
}

// add makes a record of an API that has none; one that says the same as in old stays.
func (s *seen) add(api *API, old *seen, now time.Time) error {
	text, err := definitionOf(api)
	if err != nil {
		return err
	}
	token := apiToken(api.Name(), api.Version())
	record, revision := apiPrefix+token, revisionKey(token, 1)
	if e := old.apis[token]; e != nil && bytes.Equal(e.stored.Definition, text) && e.State == api.Spec.State && e.Default == api.Spec.Default {
		s.apis[token], s.entries[record], s.entries[revision] = e, old.entries[record], old.entries[revision]
		return nil
	}
	id := sha256.Sum256([]byte(api.ID()))
	st := &stored{
		Schema: schemaNow, UID: hex.EncodeToString(id[:16]), Definition: text, State: api.Spec.State, Default: api.Spec.Default,
		Next: 2, Revisions: []RevisionInfo{{N: 1, By: byFile, At: now, SHA256: sumOf(text)}},
		History:   []HistoryEntry{{At: now, By: byFile, Action: "create", To: api.Spec.State, Revision: 1}},
		CreatedAt: now, CreatedBy: byFile, UpdatedAt: now, UpdatedBy: byFile,
	}
	if api.Spec.State.Runs() {
		st.Deployments = map[string]int{}
		for _, g := range api.Spec.EdgeGroups {
			st.Deployments[g] = 1
		}
	}
	value, err := json.Marshal(storedRevision{Schema: schemaNow, UID: st.UID, N: 1, Definition: text})
	if err != nil {
		return err
	}
	if s.apis[token], err = newEntry(st, api, s.rev, s.public); err != nil {
		return err
	}
	s.entries[record] = broker.Entry{Key: record, Revision: s.rev}
	s.entries[revision] = broker.Entry{Key: revision, Value: value, Revision: s.rev}
	return nil
}
