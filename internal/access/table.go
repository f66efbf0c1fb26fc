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
	kind    func(key string) kind
	rev     uint64 // of the newest entry
	entries map[string]broker.Entry
	records [kinds]map[string]any // by key
	refused map[string]bool
}

// kind is what a key's record is.
type kind uint8

const (
	noRecord kind = iota // what is not shown: the gate, and what later releases keep
	planRecord
	appRecord
	grantRecord
	keyRecord
	denyRecord
	revokeRecord
	kinds
)

// kindSet is a set of kinds.
type kindSet uint16

const allKinds kindSet = 1<<kinds - 1

func setOf(k kind) kindSet        { return 1 << k }
func (s kindSet) has(k kind) bool { return s&setOf(k) != 0 }

var accessKinds = map[string]kind{planPrefix: planRecord, appPrefix: appRecord, grantPrefix: grantRecord, keyPrefix: keyRecord, denyPrefix: denyRecord}

// accessKind is the kind of a key in bucket access, revokeKind that of one in bucket revoke.
func accessKind(key string) kind { return accessKinds[key[:strings.IndexByte(key, '.')+1]] }
func revokeKind(string) kind     { return revokeRecord }

func newTable(kind func(key string) kind) *table {
	t := &table{kind: kind, entries: map[string]broker.Entry{}, refused: map[string]bool{}}
	for k := range t.records {
		t.records[k] = map[string]any{}
	}
	return t
}

// at is the revision of a key, of its delete marker too; 0 = there never was any.
func (t *table) at(key string) uint64 { return t.entries[key].Revision }

// take adds the entries that are newer than what is known, and tells of which kinds there were any. A record that cannot be read leaves
// the one before, and bad is told.
func (t *table) take(entries []broker.Entry, bad func(key string, err error)) (changed kindSet) {
	for _, e := range entries {
		if e.Revision <= t.at(e.Key) {
			continue
		}
		t.entries[e.Key] = e
		t.rev = max(t.rev, e.Revision)
		delete(t.refused, e.Key)
		k := t.kind(e.Key)
		changed |= setOf(k)
		if e.Deleted {
			changed |= t.forget(k, e.Key)
			continue
		}
		record, err := decode(k, e)
		if err != nil {
			t.refused[e.Key] = true
			bad(e.Key, err)
			continue
		}
		if k == appRecord && t.records[k][e.Key] == nil {
			changed |= ofApplications
		}
		if record != nil {
			t.records[k][e.Key] = record
		}
	}
	return changed
}

// ofApplications are the kinds that are shown only while their application is there.
const ofApplications kindSet = 1<<grantRecord | 1<<keyRecord

// forget removes a record and tells what that changes.
func (t *table) forget(k kind, key string) kindSet {
	delete(t.records[k], key)
	if k == appRecord {
		return setOf(k) | ofApplications
	}
	return setOf(k)
}

// lacks says what is known and not among all entries that the bucket held when its newest revision was newest, although nobody deleted it
// and it is not too old to be there: the bucket was wiped, or made anew. "" = nothing.
func (t *table) lacks(all []broker.Entry, newest uint64, now time.Time) string {
	there := keysOf(all)
	for _, records := range t.records {
		for key, record := range records {
			r, ages := record.(*Revocation)
			old := ages && now.After(r.Until.Add(-ageSlack))
			if !there[key] && !old && t.at(key) <= newest {
				return key
			}
		}
	}
	return ""
}

// ageSlack is how much sooner than it says a revocation may be gone: clocks differ.
const ageSlack = time.Hour

// drop forgets what is not among all entries that the bucket held when its newest revision was newest, and tells of which kinds
// there was any.
func (t *table) drop(all []broker.Entry, newest uint64) (changed kindSet) {
	there := keysOf(all)
	for key, e := range t.entries {
		if !there[key] && e.Revision <= newest {
			delete(t.entries, key)
			delete(t.refused, key)
			changed |= t.forget(t.kind(key), key)
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
func (t *table) count(k kind) int { return len(t.records[k]) }

// find returns the record of a key, nil if there is none.
func find[T any](t *table, key string) *T {
	r, _ := t.records[t.kind(key)][key].(*T)
	return r
}

// each returns the records of a type for which ok is true.
func each[T any](t *table, ok func(*T) bool) (out []*T) {
	for _, r := range t.records[kindOf((*T)(nil))] {
		if r := r.(*T); ok(r) {
			out = append(out, r)
		}
	}
	return out
}

// kindOf is the kind of a record's type.
func kindOf(record any) kind {
	switch record.(type) {
	case *Plan:
		return planRecord
	case *Application:
		return appRecord
	case *Grant:
		return grantRecord
	case *Key:
		return keyRecord
	case *Deny:
		return denyRecord
	case *Revocation:
		return revokeRecord
	}
	return noRecord
}

// decode reads the record of an entry; nil if it is of no kind.
func decode(k kind, e broker.Entry) (any, error) {
	switch k {
	case planRecord:
		return read(e, func(p *Plan) bool { p.Rev = e.Revision; return planKey(p.Name) == e.Key })
	case appRecord:
		return read(e, func(a *Application) bool { a.Rev = e.Revision; return appKey(a.ID) == e.Key })
	case grantRecord:
		return read(e, func(g *Grant) bool {
			g.Rev = e.Revision
			return subKey(g.Application, g.API, g.Version) == e.Key && isID(g.ID)
		})
	case keyRecord:
		return read(e, func(k *Key) bool { k.Rev = e.Revision; return keyKey(k.ID) == e.Key && k.Hash != "" })
	case denyRecord:
		return read(e, func(d *Deny) bool { d.Rev = e.Revision; return denyIDKey(d.ID) == e.Key })
	case revokeRecord:
		return read(e, func(r *Revocation) bool { r.Rev = e.Revision; return revokeRecordKey(r.Kind, r.Value) == e.Key })
	}
	return nil, nil
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

// snapshotOf shows two tables as one: what changed since old, the rest shared with it. What belongs to an application that is gone is
// absent, so are revocations that have ended.
func snapshotOf(old *Snapshot, access, revoke *table, changed kindSet, now time.Time) *Snapshot {
	s := *old
	s.rev = max(1, access.rev, revoke.rev)
	has := func(app string) bool { return find[Application](access, appKey(app)) != nil }
	if changed.has(planRecord) {
		s.setPlans(each(access, func(*Plan) bool { return true }))
	}
	if changed.has(appRecord) {
		s.setApplications(each(access, func(*Application) bool { return true }))
	}
	if changed.has(grantRecord) {
		s.setGrants(each(access, func(g *Grant) bool { return has(g.Application) }))
	}
	if changed.has(keyRecord) {
		s.setKeys(each(access, func(k *Key) bool { return has(k.Application) }))
	}
	if changed.has(denyRecord) {
		s.setDenies(each(access, func(*Deny) bool { return true }))
	}
	if changed.has(revokeRecord) {
		s.setRevocations(each(revoke, func(r *Revocation) bool { return now.Before(r.Until) }))
	}
	return &s
}
