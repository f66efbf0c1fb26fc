package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/config"
	"sluice/internal/broker"
	"sluice/internal/doc"
)

// Bucket is the name of the bucket that holds the catalog, and BucketHistory how many values of a key it keeps.
const (
	Bucket        = "api"
	BucketHistory = 5
)

// Keys of the bucket: gateKey serialises the changes that could collide with another API; of each API version a record, and one
// definition for each revision.
const (
	gateKey     = "gate"
	apiPrefix   = "api."
	revPrefix   = "revision."
	maxHistory  = 100
	schemaNow   = 1
	maxComment  = 500
	defaultKept = 10 // revisions of one API
)

// apiToken is the part of a key that names an API version; case is ignored.
func apiToken(name, version string) string {
	return broker.APIToken(strings.ToLower(name), strings.ToLower(version))
}

// tokenOf is apiToken of `<name>@<version>`; neither part can hold the separator.
func tokenOf(id string) string {
	name, version, _ := strings.Cut(id, "@")
	return apiToken(name, version)
}

func revisionKey(token string, n int) string { return revPrefix + token + "." + strconv.Itoa(n) }

// gate is the value of gateKey.
type gate struct {
	N       uint64 `json:"n"`
	By      string `json:"by"`
	Request string `json:"request"`
}

// stored is the value of an API's key.
type stored struct {
	Schema int    `json:"schema"`
	UID    string `json:"uid"`
	// Definition is the working copy without state and default.
	Definition json.RawMessage `json:"definition"`
	State      State           `json:"state"`
	Default    bool            `json:"default,omitempty"`
	// KeepsClients says that streams which came by the default path stay although this is not the default version any more.
	KeepsClients bool           `json:"keepsClients,omitempty"`
	Deployments  map[string]int `json:"deployments,omitempty"`
	Next         int            `json:"next"`
	Revisions    []RevisionInfo `json:"revisions,omitempty"`
	History      []HistoryEntry `json:"history,omitempty"`
	AppliedHash  string         `json:"appliedHash,omitempty"`
	// Gone are topics that were served and are not any more, and since when.
	Gone map[string]time.Time `json:"gone,omitempty"`
	// Request names the change that wrote this, so that whoever lost its answer finds out.
	Request   string    `json:"request"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	UpdatedAt time.Time `json:"updatedAt"`
	UpdatedBy string    `json:"updatedBy"`
}

// storedRevision is the value of a revision's key.
type storedRevision struct {
	Schema     int             `json:"schema"`
	UID        string          `json:"uid"`
	N          int             `json:"n"`
	Definition json.RawMessage `json:"definition"`
}

// definitionOf is the canonical JSON of a working copy: state and default are the record's business.
func definitionOf(api *API) (json.RawMessage, error) {
	bare := *api
	bare.Spec.State, bare.Spec.Default, bare.Status = "", false, nil
	text, err := doc.Marshal(&bare)
	return text, err
}

// frozenOf is definitionOf for a revision: defaults that a later release might change are filled in.
func frozenOf(api *API) (json.RawMessage, error) {
	fixed := *api
	fillIn(&fixed.Spec.Retention.MaxAge, defaultMaxAge)
	fillIn(&fixed.Spec.Retention.MaxEvents, defaultMaxEvents)
	fillIn(&fixed.Spec.Retention.MaxBytes, defaultMaxBytes)
	fillIn(&fixed.Metadata.DisplayName, fixed.Metadata.Name)
	return definitionOf(&fixed)
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// parseDefinition reads what definitionOf wrote.
func parseDefinition(text json.RawMessage) (*API, error) {
	defs, errs := decode(Source{Name: "stored.json", Data: text})
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if len(defs) != 1 {
		return nil, fmt.Errorf("%d definitions in one record", len(defs))
	}
	return defs[0].api, nil
}

// parseStored reads an API's value.
func parseStored(value []byte) (*stored, *API, error) {
	var st stored
	if err := json.Unmarshal(value, &st); err != nil {
		return nil, nil, err
	}
	if st.Schema != schemaNow {
		return nil, nil, fmt.Errorf("schema %d is not known to this release", st.Schema)
	}
	api, err := parseDefinition(st.Definition)
	if err != nil {
		return nil, nil, err
	}
	api.Spec.State, api.Spec.Default = st.State, st.Default
	return &st, api, nil
}

func parseRevision(value []byte) (*storedRevision, *API, error) {
	var r storedRevision
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, nil, err
	}
	if r.Schema != schemaNow {
		return nil, nil, fmt.Errorf("schema %d is not known to this release", r.Schema)
	}
	api, err := parseDefinition(r.Definition)
	return &r, api, err
}

// entry is one API as this node knows it: what is stored, and the view of it that callers get.
type entryAPI struct {
	stored
	rec *Record
}

// newEntry makes the view of a stored record.
func newEntry(st *stored, api *API, rev uint64, public []config.PublicURL) (*entryAPI, error) {
	rec := &Record{
		UID: st.UID, Rev: rev, API: api, Deployments: st.Deployments, Next: st.Next, Revisions: st.Revisions,
		History: slices.Clone(st.History), AppliedHash: st.AppliedHash, Gone: st.Gone,
		CreatedAt: st.CreatedAt, UpdatedAt: st.UpdatedAt, CreatedBy: st.CreatedBy, UpdatedBy: st.UpdatedBy,
	}
	slices.Reverse(rec.History) // stored oldest first
	if rec.Deployments == nil {
		rec.Deployments = map[string]int{}
	}
	shown := *api
	shown.Status = st.status()
	if urls := rec.URLs(public); len(urls) > 0 {
		shown.Status["urls"] = urls
	}
	text, err := doc.Marshal(&shown)
	if err != nil {
		return nil, err
	}
	rec.Definition = text
	return &entryAPI{stored: *st, rec: rec}, nil
}

// status is the part of a resource that the server owns.
func (st *stored) status() map[string]any {
	out := map[string]any{
		"uid": st.UID, "createdAt": st.CreatedAt.UTC().Format(time.RFC3339Nano), "createdBy": st.CreatedBy,
		"updatedAt": st.UpdatedAt.UTC().Format(time.RFC3339Nano), "updatedBy": st.UpdatedBy,
	}
	if st.AppliedHash != "" {
		out["appliedHash"] = st.AppliedHash
	}
	if len(st.Deployments) > 0 {
		groups, newest := map[string]any{}, 0
		for g, n := range st.Deployments {
			groups[g], newest = n, max(newest, n)
		}
		out["deployments"], out["revision"] = groups, newest
	}
	return out
}

// revision finds what the record tells of revision n.
func (st *stored) revision(n int) (RevisionInfo, bool) {
	i := slices.IndexFunc(st.Revisions, func(r RevisionInfo) bool { return r.N == n })
	if i < 0 {
		return RevisionInfo{}, false
	}
	return st.Revisions[i], true
}

// deployed tells whether a group serves revision n.
func (st *stored) deployed(n int) bool {
	for _, m := range st.Deployments {
		if m == n {
			return true
		}
	}
	return false
}
