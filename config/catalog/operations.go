package catalog

import (
	"encoding/json"
	"time"

	"sluice/internal/doc"
)

// Actor is who asks for a change, for the history and for what only some may do.
type Actor struct {
	// Name as the history tells it.
	Name string
	// Admin may give an API to another owner, switch the check of a backend's certificate off and delete a live API by force.
	Admin bool
}

// Write says how one change is made.
type Write struct {
	By Actor
	// Expect is the revision that the API's record must still have (Record.Rev); 0 = do not care: what others changed
	// meanwhile is read again and the change made on that.
	Expect uint64
	// DryRun checks everything and writes nothing.
	DryRun bool
	// Comment is kept in the history, at most 500 characters.
	Comment string
	// Cascade lets Delete take the subscriptions of the API with it.
	Cascade bool
	// Plans are names of plans that count as there beside those that are: those of the same bundle.
	Plans []string
}

// Result is what a change came to, or with Write.DryRun would.
type Result struct {
	// Record after the change; of Delete the one that went.
	Record *Record
	// Changed is false if everything was as asked for already: then nothing was written.
	Changed bool
	// Revision that the change cut, 0 = none.
	Revision int
	// Diff of the working copy, state and default included.
	Diff []Change
	// Impact on what is served.
	Impact Impact
	// Warnings are about what is allowed but deserves a look.
	Warnings []*doc.Error
}

// Change is one difference between two definitions.
type Change struct {
	// Op is add, remove or replace.
	Op string `json:"op"`
	// Pointer into the definition. A topic stands under its name, not its index.
	Pointer string          `json:"pointer"`
	Old     json.RawMessage `json:"old,omitempty"`
	New     json.RawMessage `json:"new,omitempty"`
}

// Impact is what a change does to open streams and to feeds, over all edge groups.
type Impact struct {
	// StreamsEnded names the topics whose clients must go.
	StreamsEnded []Ended `json:"streamsEnded"`
	// FeedsReconnected names the topics whose upstream is connected anew.
	FeedsReconnected []string `json:"feedsReconnected"`
}

// Ended is one topic whose clients must go, and why.
type Ended struct {
	Topic  string    `json:"topic"`
	Reason EndReason `json:"reason"`
	// Transport, if only clients of that one go.
	Transport Transport `json:"transport,omitempty"`
}

// Record is what the catalog holds of one API version. Immutable and shared: never change it.
type Record struct {
	// UID tells an API from one that had its name before, 32 hexadecimal digits.
	UID string
	// Rev is the revision of the record in the store, the ETag.
	Rev uint64
	// API is the working copy with the defaults of the resource filled in, State and Default included. What is left to the
	// settings of each process is empty.
	API *API
	// Definition is the working copy as JSON, as GET answers it, with status.
	Definition json.RawMessage
	// Deployments are revision numbers by edge group.
	Deployments map[string]int
	// Next is the number that the next revision gets.
	Next int
	// Revisions that exist, by number.
	Revisions []RevisionInfo
	// History has the last 100 changes, the newest first.
	History []HistoryEntry
	// AppliedHash is the sum of the definition that Apply wrote last; "" = never applied.
	AppliedHash string
	// Gone are topics that were served and are not any more, with the time since which; see Past.
	Gone                 map[string]time.Time
	CreatedAt, UpdatedAt time.Time
	CreatedBy, UpdatedBy string
}

// ID names the API version: `<name>@<version>`.
func (r *Record) ID() string { return r.API.ID() }

// RevisionInfo is what a record tells of one revision.
type RevisionInfo struct {
	N int `json:"n"`
	// Auto is true if a change of a live API cut it.
	Auto        bool      `json:"auto"`
	Description string    `json:"description,omitempty"`
	By          string    `json:"by"`
	At          time.Time `json:"at"`
	// SHA256 of the definition, hexadecimal.
	SHA256 string `json:"sha256"`
}

// Revision is one immutable copy of a definition.
type Revision struct {
	RevisionInfo
	// API as it was cut, every default of the resource filled in.
	API *API
	// Definition is API as JSON.
	Definition json.RawMessage
	// Groups that serve it, sorted.
	Groups []string
}

// HistoryEntry is one change of an API.
type HistoryEntry struct {
	At time.Time `json:"at"`
	By string    `json:"by"`
	// Action is create, update, copy, restore, revision, delete-revision, deploy, default or a Transition.
	Action string `json:"action"`
	// From and To are set if the state changed.
	From State `json:"from,omitempty"`
	To   State `json:"to,omitempty"`
	// Revision that was cut, restored, deleted; 0 = none.
	Revision int    `json:"revision,omitempty"`
	Comment  string `json:"comment,omitempty"`
}

// Check is one thing that publishing needs.
type Check struct {
	// Name is endpoint, topics, transports or plans.
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Detail says what is missing.
	Detail string `json:"detail,omitempty"`
}

// Family is all versions of one name.
type Family struct {
	Name, Context string
	// DefaultVersion answers without version too; "" = none.
	DefaultVersion string
	// Versions, sorted.
	Versions []string
}

// Availability tells whether a name, context or version can be used by a new API.
type Availability struct {
	Name, Context, Version FieldAvailability
	// BasePath is where the API would answer; "" if that cannot be told.
	BasePath string
}

// FieldAvailability is one field's.
type FieldAvailability struct {
	// Status is free, taken or invalid.
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// ApplyOptions say what Apply may do.
type ApplyOptions struct {
	// Set is the value of the label sluice/set that all members get; needed by Prune.
	Set string
	// Prune deletes members of Set that the bundle lacks.
	Prune bool
	// Force overwrites what was edited elsewhere since the last Apply.
	Force bool
	// Others are kinds of definitions in the sources that somebody else applies.
	Others []string
}

// Applied is what Apply did with one object.
type Applied struct {
	ID string
	// Outcome is created, configured, unchanged, pruned or refused.
	Outcome string
	Result  Result
	// Err is why it was refused.
	Err error
}
