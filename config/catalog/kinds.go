package catalog

import (
	"errors"

	"sluice/internal/problem"
)

// ErrUnsure is within a StoreUnavailable if the change may have been made, or may still be: the broker's answer was lost. Without it
// nothing was written.
var ErrUnsure = errors.New("outcome unknown")

// Kinds of the errors of a Manager, beside the slugs that a wrong definition gives (see doc.Error.Type) and the general ones of
// package problem.
const (
	VersionMismatch      problem.Kind = "version-mismatch"       // 412
	StoreUnavailable     problem.Kind = "store-unavailable"      // 503
	Forbidden            problem.Kind = "forbidden"              // 403
	InvalidResource      problem.Kind = "invalid-resource"       // 422: several slugs, see Errors
	InvalidValue         problem.Kind = "invalid-value"          // 422
	NotPublishable       problem.Kind = "not-publishable"        // 422: Errors has the whole list
	TopicConflict        problem.Kind = "topic-conflict"         // 409
	VersionConflict      problem.Kind = "version-conflict"       // 409: name and version exist, in any case
	ContextDiffers       problem.Kind = "context-differs"        // 409: another version of the name has another context
	ContextConflict      problem.Kind = "context-conflict"       // 409: a path of another API
	TransitionNotAllowed problem.Kind = "transition-not-allowed" // 409, with a *TransitionError
	APILive              problem.Kind = "api-live"               // 409
	APIRetired           problem.Kind = "api-retired"            // 409: read-only
	HasSubscriptions     problem.Kind = "has-subscriptions"      // 409
	RevisionDeployed     problem.Kind = "revision-deployed"      // 409
	RevisionLimit        problem.Kind = "revision-limit"         // 409
	MappingDiffers       problem.Kind = "mapping-differs"        // 409
	ChangedElsewhere     problem.Kind = "changed-elsewhere"      // 409, with a *ChangedError
)

// ChangedError says how an API was edited since it was applied last; it is the cause within a problem of kind ChangedElsewhere.
type ChangedError struct {
	ID string
	// Diff from what is stored to what was to be applied.
	Diff []Change
}

// Error names the API.
func (e *ChangedError) Error() string { return "api " + e.ID + " was changed elsewhere" }
