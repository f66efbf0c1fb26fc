package access

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/broker"
)

// Keys of bucket access. A subscription's names application, API and version, so that there cannot be two.
const (
	planPrefix  = "plan."
	appPrefix   = "app."
	grantPrefix = "sub."
	keyPrefix   = "key."
	denyPrefix  = "deny."
	gateKey     = "gate"   // part of every batch: who decides on what others have not seen yet writes nothing
	seededKey   = "seeded" // the first plans were made: they do not come back when they are deleted
)

func planKey(name string) string { return planPrefix + strings.ReplaceAll(name, ".", "=") } // two dots would be no key
func appKey(id string) string    { return appPrefix + id }
func keyKey(id string) string    { return keyPrefix + id }
func denyIDKey(id string) string { return denyPrefix + id }
func subKey(app, api, version string) string {
	return grantPrefix + app + "." + broker.APIToken(api, version)
}

// revokeRecordKey is the key in bucket revoke: values that may hold anything are hashed.
func revokeRecordKey(kind RevokeKind, value string) string {
	if kind == RevokeApplication {
		return string(kind) + "." + value
	}
	sum := sha256.Sum256([]byte(value))
	return string(kind) + "." + hex.EncodeToString(sum[:])
}

// table is what this node knows of one bucket: the last entry of each key, delete markers too, and the records read out of them. Records
// are immutable.
type table struct {
	decode  func(e broker.Entry) (any, error) // nil without an error: no record
	rev     uint64                            // of the newest entry
	entries map[string]broker.Entry
	records map[string]any // by key
	refused map[string]bool
}

func newTable(decode func(e broker.Entry) (any, error)) *table {
	return &table{decode: decode, entries: map[string]broker.Entry{}, records: map[string]any{}, refused: map[string]bool{}}
}

// at is the revision of a key, of its delete marker too; 0 = there never was any.
func (t *table) at(key string) uint64 { return t.entries[key].Revision }

// take adds the entries that are newer than what is known, and tells whether any was. A record that cannot be read leaves the one before,
// and bad is told.
func (t *table) take(entries []broker.Entry, bad func(key string, err error)) (changed bool) {
	for _, e := range entries {
		if e.Revision <= t.at(e.Key) {
			continue
		}
		changed = true
		t.entries[e.Key] = e
		t.rev = max(t.rev, e.Revision)
		delete(t.refused, e.Key)
		if e.Deleted {
			delete(t.records, e.Key)
			continue
		}
		record, err := t.decode(e)
		if err != nil {
			t.refused[e.Key] = true
			bad(e.Key, err)
			continue
		}
		if record != nil {
			t.records[e.Key] = record
		}
	}
	return changed
}

// lacks says what is known and not among all entries that the bucket held when its newest revision was newest, although nobody deleted it
// and it is not too old to be there: the bucket was wiped, or made anew. "" = nothing.
func (t *table) lacks(all []broker.Entry, newest uint64, now time.Time) string {
	there := keysOf(all)
	for key, record := range t.records {
		r, ages := record.(*Revocation)
		old := ages && now.After(r.Until.Add(-ageSlack))
		if !there[key] && !old && t.at(key) <= newest {
			return key
		}
	}
	return ""
}

// ageSlack is how much sooner than it says a revocation may be gone: clocks differ.
const ageSlack = time.Hour

// drop forgets what is not among all entries that the bucket held when its newest revision was newest, and tells whether there was any.
func (t *table) drop(all []broker.Entry, newest uint64) (changed bool) {
	there := keysOf(all)
	for key, e := range t.entries {
		if !there[key] && e.Revision <= newest {
			delete(t.entries, key)
			delete(t.records, key)
			delete(t.refused, key)
			changed = true
		}
	}
	return changed
}

func keysOf(entries []broker.Entry) map[string]bool {
	out := make(map[string]bool, len(entries))
	for _, e := range entries {
		out[e.Key] = true
	}
	return out
}

// all are the entries, for the copy on disk.
func (t *table) all() []broker.Entry { return slices.Collect(maps.Values(t.entries)) }

// count is how many records there are of a kind.
func (t *table) count(prefix string) (n int) {
	for key := range t.records {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}

// find returns the record of a key, nil if there is none.
func find[T any](t *table, key string) *T {
	r, _ := t.records[key].(*T)
	return r
}

// each returns the records of a type for which ok is true.
func each[T any](t *table, ok func(*T) bool) (out []*T) {
	for _, r := range t.records {
		if r, is := r.(*T); is && ok(r) {
			out = append(out, r)
		}
	}
	return out
}

// decodeAccess reads an entry of bucket access.
func decodeAccess(e broker.Entry) (any, error) {
	kind, _, _ := strings.Cut(e.Key, ".")
	switch kind + "." {
	case planPrefix:
		return read(e, func(p *Plan) bool { p.Rev = e.Revision; return planKey(p.Name) == e.Key })
	case appPrefix:
		return read(e, func(a *Application) bool { a.Rev = e.Revision; return appKey(a.ID) == e.Key })
	case grantPrefix:
		return read(e, func(g *Grant) bool {
			g.Rev = e.Revision
			return subKey(g.Application, g.API, g.Version) == e.Key && isID(g.ID)
		})
	case keyPrefix:
		return read(e, func(k *Key) bool { k.Rev = e.Revision; return keyKey(k.ID) == e.Key && k.Hash != "" })
	case denyPrefix:
		return read(e, func(d *Deny) bool { d.Rev = e.Revision; return denyIDKey(d.ID) == e.Key })
	}
	return nil, nil // gate, seeded, and what later releases keep
}

// decodeRevoke reads an entry of bucket revoke.
func decodeRevoke(e broker.Entry) (any, error) {
	return read(e, func(r *Revocation) bool { r.Rev = e.Revision; return revokeRecordKey(r.Kind, r.Value) == e.Key })
}

// read reads a record and asks whether it is that of its key.
func read[T any](e broker.Entry, fits func(*T) bool) (any, error) {
	r := new(T)
	if err := json.Unmarshal(e.Value, r); err != nil {
		return nil, err
	}
	if !fits(r) {
		return nil, errors.New("is not the record of its key")
	}
	return r, nil
}

// snapshotOf shows two tables as one. What belongs to an application that is gone is absent, so are revocations that have ended.
func snapshotOf(access, revoke *table, now time.Time) *Snapshot {
	var r Records
	for _, record := range access.records {
		switch x := record.(type) {
		case *Plan:
			r.Plans = append(r.Plans, x)
		case *Application:
			r.Applications = append(r.Applications, x)
		case *Grant:
			if find[Application](access, appKey(x.Application)) != nil {
				r.Grants = append(r.Grants, x)
			}
		case *Key:
			if find[Application](access, appKey(x.Application)) != nil {
				r.Keys = append(r.Keys, x)
			}
		case *Deny:
			r.Denies = append(r.Denies, x)
		}
	}
	for _, record := range revoke.records {
		if x := record.(*Revocation); now.Before(x.Until) {
			r.Revocations = append(r.Revocations, x)
		}
	}
	return NewSnapshot(max(1, access.rev, revoke.rev), r)
}
