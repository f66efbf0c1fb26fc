package catalog

import (
	"context"

	"sluice/internal/problem"
)

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
	board
}

var _ Store = (*Manager)(nil)

var errNotBuilt = problem.Unavailable

// Get returns the record of an API version, id `<name>@<version>`. NotFound.
func (m *Manager) Get(id string) (*Record, error) { return nil, errNotBuilt }

// List returns all records by name, then version. The slice is shared: do not change it.
func (m *Manager) List() []*Record { return nil }

// Rev is the revision of the newest change that this node has seen.
func (m *Manager) Rev() uint64 { return 0 }

// Validate checks definitions as Create would, without writing or asking what else exists, and returns the warnings. The error is
// as of Create.
func (m *Manager) Validate(src Source) (warnings []error, err error) { return nil, errNotBuilt }

// Availability tells what of a new API is free; each may be empty.
func (m *Manager) Availability(name, context, version string) Availability { return Availability{} }

// Create adds an API in state CREATED, or PROTOTYPED or PUBLISHED if it asks for that. src holds one definition. Without owner the
// actor is.
//
// invalid-json, invalid-yaml, unknown-field, duplicate-key, too-deep (400), document-too-large (413); the slugs of the rules such
// as invalid-name, invalid-context, invalid-topic (422), NotPublishable (422, the whole list), InvalidResource if several differ (then
// Errors have a Type each); TopicConflict, VersionConflict, ContextConflict, ContextDiffers (409); Forbidden for what only
// administrators may set.
func (m *Manager) Create(ctx context.Context, w Write, src Source) (Result, error) {
	return Result{}, errNotBuilt
}

// Update puts the definition in the place of the working copy. Absent state, default and topics stay; another state makes the one
// transition that leads there. Of a live API with deploy: auto the change is served at once.
//
// As Create; InvalidValue for another name, version or context; TransitionNotAllowed, APIRetired (409); RevisionLimit.
func (m *Manager) Update(ctx context.Context, w Write, id string, src Source) (Result, error) {
	return Result{}, errNotBuilt
}

// Delete removes an API with its revisions. APILive (409) unless it is CREATED, PROTOTYPED or RETIRED, or force is set by an
// administrator.
func (m *Manager) Delete(ctx context.Context, w Write, id string, force bool) (Result, error) {
	return Result{}, errNotBuilt
}

// SetTopics puts a list of topics in the place of all. src holds the list. As Update.
func (m *Manager) SetTopics(ctx context.Context, w Write, id string, src Source) (Result, error) {
	return Result{}, errNotBuilt
}

// AddTopic adds one topic at the end. src holds it. As Update; TopicConflict if the name is there.
func (m *Manager) AddTopic(ctx context.Context, w Write, id string, src Source) (Result, error) {
	return Result{}, errNotBuilt
}

// DeleteTopic removes the topic of that name. NotFound; NotPublishable if a live API would have none.
func (m *Manager) DeleteTopic(ctx context.Context, w Write, id, name string) (Result, error) {
	return Result{}, errNotBuilt
}

// LifecycleOptions go with a transition.
type LifecycleOptions struct {
	// DeprecateOlder makes Publish deprecate the other PUBLISHED versions in the same change.
	DeprecateOlder bool
}

// Lifecycle makes a transition. Publish and Prototype cut and deploy a revision if none is deployed. TransitionNotAllowed (409, with a
// *TransitionError), NotPublishable (422, the whole list).
func (m *Manager) Lifecycle(ctx context.Context, w Write, id string, t Transition, opt LifecycleOptions) (Result, error) {
	return Result{}, errNotBuilt
}

// Checklist tells what publishing needs and whether it is there.
func (m *Manager) Checklist(id string) ([]Check, error) { return nil, errNotBuilt }

// Revision returns one revision of an API. NotFound.
func (m *Manager) Revision(id string, n int) (*Revision, error) { return nil, errNotBuilt }

// DiffRevision tells what changed from revision against to revision n; 0 stands for the working copy. NotFound.
func (m *Manager) DiffRevision(id string, n, against int) ([]Change, error) { return nil, errNotBuilt }

// Cut copies the working copy into a new revision. RevisionLimit (409) if there are as many as allowed and none of the automatic ones
// can go.
func (m *Manager) Cut(ctx context.Context, w Write, id, description string) (Result, error) {
	return Result{}, errNotBuilt
}

// Restore copies a revision into the working copy. As Update.
func (m *Manager) Restore(ctx context.Context, w Write, id string, n int) (Result, error) {
	return Result{}, errNotBuilt
}

// DeleteRevision removes a revision. RevisionDeployed (409).
func (m *Manager) DeleteRevision(ctx context.Context, w Write, id string, n int) (Result, error) {
	return Result{}, errNotBuilt
}

// Deploy says which revision each edge group serves; a group left out serves none. MappingDiffers (409) if two groups would read one
// topic from different upstreams; NotFound for an unknown revision; InvalidValue for a bad group.
func (m *Manager) Deploy(ctx context.Context, w Write, id string, groups map[string]int) (Result, error) {
	return Result{}, errNotBuilt
}

// Copy makes a new version, in state CREATED, out of the working copy of another. VersionConflict, InvalidVersion, ContextConflict.
func (m *Manager) Copy(ctx context.Context, w Write, id, version string, byDefault bool) (Result, error) {
	return Result{}, errNotBuilt
}

// Family returns all versions of a name, case ignored. NotFound.
func (m *Manager) Family(name string) (Family, error) { return Family{}, errNotBuilt }

// SetDefault makes a version the one that answers without version too; "" = none does. moveClients ends the streams that came by the
// default path. Write.Expect is not used. NotFound, ContextConflict, TopicConflict.
func (m *Manager) SetDefault(ctx context.Context, w Write, name, version string, moveClients bool) (Result, error) {
	return Result{}, errNotBuilt
}

// Apply makes the APIs of a bundle exist as written, each in one change: older versions first. Anything wrong with a document is an
// error as of Create, and nothing is written; what a single object meets later is in its Applied. ChangedElsewhere (409) if an API
// was edited since it was applied last.
func (m *Manager) Apply(ctx context.Context, w Write, opt ApplyOptions, sources ...Source) ([]Applied, error) {
	return nil, errNotBuilt
}
