package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
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

// take makes what is seen of a snapshot.
func (m *Manager) take(snap *Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, now := newSeen(m.opt.Public), m.now().UTC()
	for _, api := range snap.APIs() {
		if err := next.add(api, m.seen, now); err != nil {
			m.refuse(apiPrefix+apiToken(api.Name(), api.Version()), err)
		}
	}
	next.rev = snap.Revision()
	m.seen, m.list, m.loaded = next, nil, true
	for _, v := range m.views {
		v.show(snap)
	}
	close(m.moved)
	m.moved = make(chan struct{})
}

// add makes a record of an API that has none; one that says the same as in old keeps its times.
func (s *seen) add(api *API, old *seen, now time.Time) error {
	text, err := definitionOf(api)
	if err != nil {
		return err
	}
	shown, err := shownOf(api)
	if err != nil {
		return err
	}
	sum, id := sha256.Sum256(shown), sha256.Sum256([]byte(api.ID()))
	rev := binary.BigEndian.Uint64(sum[:]) >> 12 // an ETag that only the same text has, also after a restart
	token := apiToken(api.Name(), api.Version())
	if have := old.apis[token]; have != nil && have.rec.Rev == rev {
		s.apis[token] = have
		key := revisionKey(token, 1)
		s.entries[key] = old.entries[key]
		return nil
	}
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
	bare := *api
	bare.Spec.Topics = slices.Clone(api.Spec.Topics)
	if s.apis[token], err = newEntry(st, &bare, rev, s.public); err != nil {
		return err
	}
	s.entries[revisionKey(token, 1)] = broker.Entry{Key: revisionKey(token, 1), Value: value, Revision: rev}
	return nil
}
