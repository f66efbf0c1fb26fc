package catalog

import (
	"fmt"
	"slices"
	"strings"

	"sluice/internal/problem"
)

// Transition is an action of the lifecycle.
type Transition string

// The transitions.
const (
	Publish   Transition = "publish"
	Prototype Transition = "prototype"
	Demote    Transition = "demote"
	Block     Transition = "block"
	Republish Transition = "republish"
	Deprecate Transition = "deprecate"
	Retire    Transition = "retire"
)

// transitions is the whole lifecycle: what leads where, and from which states.
var transitions = []struct {
	does Transition
	from []State
	to   State
}{
	{Publish, []State{StateCreated, StatePrototyped}, StatePublished},
	{Prototype, []State{StateCreated, StatePublished}, StatePrototyped},
	{Demote, []State{StatePrototyped, StatePublished}, StateCreated},
	{Block, []State{StatePublished}, StateBlocked},
	{Republish, []State{StateBlocked}, StatePublished},
	{Deprecate, []State{StatePublished, StateBlocked}, StateDeprecated},
	{Retire, []State{StateDeprecated}, StateRetired},
}

// Allowed returns the transitions that lead out of state s, in the order of the table; none out of RETIRED.
func Allowed(s State) []Transition {
	out := []Transition{}
	for _, t := range transitions {
		if slices.Contains(t.from, s) {
			out = append(out, t.does)
		}
	}
	return out
}

// after returns the state that a transition leads to.
func (t Transition) after(s State) (State, error) {
	for _, row := range transitions {
		if row.does == t && slices.Contains(row.from, s) {
			return row.to, nil
		}
	}
	return "", refuseTransition(t, s)
}

// between returns the transition from one state to the other.
func between(from, to State) (Transition, bool) {
	for _, row := range transitions {
		if row.to == to && slices.Contains(row.from, from) {
			return row.does, true
		}
	}
	return "", false
}

// TransitionError says that a transition does not lead out of a state; it is the cause within a problem of kind
// TransitionNotAllowed.
type TransitionError struct {
	Transition Transition
	From       State
	// Allowed are the transitions that do.
	Allowed []Transition
}

// Error names what was asked for and what is possible.
func (e *TransitionError) Error() string {
	names := make([]string, len(e.Allowed))
	for i, t := range e.Allowed {
		names[i] = string(t)
	}
	return fmt.Sprintf("%s is not possible in state %s; possible: [%s]", clip(string(e.Transition)), e.From, strings.Join(names, " "))
}

func refuseTransition(t Transition, from State) error {
	cause := &TransitionError{Transition: t, From: from, Allowed: Allowed(from)}
	return &problem.Error{Kind: TransitionNotAllowed, Detail: cause.Error(), Err: cause}
}
