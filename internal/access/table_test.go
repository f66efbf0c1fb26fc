package access

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/broker"
)

// A snapshot that shares what did not change shows the same as one made anew, whatever comes in whatever order: what belongs to an
// application before it is there, too.
func TestSharedSnapshots(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	access, revoke, now, rev := newTable(accessKind), newTable(revokeKind), time.Now(), uint64(0)
	ids := make([]string, 4)
	for i := range ids {
		ids[i] = NewID()
	}
	entry := func() (*table, broker.Entry) {
		rev++
		id, other := ids[r.IntN(len(ids))], ids[r.IntN(len(ids))]
		to, key, record := access, gateKey, any(gate{})
		switch r.IntN(7) {
		case 0:
			key, record = planKey(id), Plan{Name: id, Description: strconv.FormatUint(rev, 10)}
		case 1:
			key, record = appKey(id), Application{ID: id, Clients: []ClientRef{{"iss", strconv.FormatUint(rev%5, 10) + id}}}
		case 2:
			key, record = subKey(other, "market", "1"), Grant{ID: other, Application: other, API: "market", Version: "1"}
		case 3:
			key, record = keyKey(id), Key{ID: id, Application: other, Hash: "x"}
		case 4:
			key, record = denyIDKey(id), Deny{ID: id, Kind: DenySubject, Value: id}
		case 5:
			to, key, record = revoke, revokeRecordKey(RevokeApplication, id), Revocation{Kind: RevokeApplication, Value: id, Until: now.Add(time.Hour)}
		}
		value, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		return to, broker.Entry{Key: key, Value: value, Revision: rev, Deleted: r.IntN(3) == 0}
	}
	bad := func(key string, err error) { t.Errorf("%s: %v", key, err) }
	shown := snapshotOf(&Snapshot{}, access, revoke, allKinds, now)
	for range 500 {
		to, e := entry()
		changed := to.take([]broker.Entry{e}, bad)
		if r.IntN(10) == 0 { // read anew, and one is not there any more
			changed |= to.drop(to.all()[1:], rev)
		}
		shown = snapshotOf(shown, access, revoke, changed, now)
		want := snapshotOf(&Snapshot{}, access, revoke, allKinds, now)
		if !reflect.DeepEqual(want.Records(), shown.Records()) {
			t.Fatalf("after %s at %d: %s", e.Key, e.Revision, cmp.Diff(want.Records(), shown.Records()))
		}
		if !reflect.DeepEqual(indexes(want), indexes(shown)) {
			t.Fatalf("after %s at %d: what is found by name differs", e.Key, e.Revision)
		}
	}
}

func indexes(s *Snapshot) []any {
	return []any{s.rev, s.plans, s.apps, s.owners, s.grants, s.byID, s.keys, s.denied, s.revs}
}
