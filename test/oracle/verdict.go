package oracle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const keptFindings = 100

// Finding is one broken promise.
type Finding struct {
	Invariant string `json:"invariant"` // "I3"
	Client    string `json:"client,omitempty"`
	Feed      string `json:"feed,omitempty"`
	Text      string `json:"text"`
}

// String puts a finding on one line.
func (f Finding) String() string {
	return strings.Join(strings.Fields(f.Invariant+" "+f.Client+" "+f.Feed+": "+f.Text), " ")
}

// Lost counts events a client never got and was not told about: before its first event, between two, after its last.
type Lost struct{ Prefix, Middle, Postfix uint64 }

// Gaps counts gaps told to clients.
type Gaps struct {
	Told     int // all
	Real     int // something was missing there
	Possible int // told as possible only
	Needless int // told as possible, and nothing was missing
	False    int // told as certain, and nothing was missing
}

// Verdict is the judgement of a run.
type Verdict struct {
	Clients    int
	Feeds      int
	Produced   uint64
	Stored     uint64
	Deliveries uint64
	Resumes    int
	Faults     int

	Lost      Lost
	Doubled   uint64
	Reordered uint64
	Foreign   int
	Phantom   uint64
	Junk      int // events that a fault of the upstream made: no loss, no double
	Gaps      Gaps
	Slowest   time.Duration // longest time from a stream's end to the next event of that client
	Unnoticed time.Duration // longest time that the upstream counted a connection of a process that had ended

	Broken   map[string]int // findings per invariant, all of them
	Findings []Finding      // the first hundred
	Void     []string       // why the run proves nothing
}

// OK says that the run counts and broke no promise.
func (v *Verdict) OK() bool { return len(v.Void) == 0 && len(v.Broken) == 0 }

// Errors is the number of findings of an invariant.
func (v *Verdict) Errors(invariant string) int { return v.Broken[invariant] }

// String sums the verdict up: one line, then one per broken invariant, finding and reason to be void.
func (v *Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d clients, %d feeds, %d produced, %d deliveries, %d resumes, %d faults: %d/%d/%d lost, %d doubled, %d reordered;"+
		" %d gaps told, %d real, %d needless, %d false; slowest recovery %v",
		v.Clients, v.Feeds, v.Produced, v.Deliveries, v.Resumes, v.Faults, v.Lost.Prefix, v.Lost.Middle, v.Lost.Postfix,
		v.Doubled, v.Reordered, v.Gaps.Told, v.Gaps.Real, v.Gaps.Needless, v.Gaps.False, v.Slowest.Round(time.Millisecond))
	if v.Unnoticed > 0 {
		fmt.Fprintf(&b, "; upstream connections closed up to %v after their process", v.Unnoticed.Round(time.Millisecond))
	}
	for _, inv := range slices.Sorted(maps.Keys(v.Broken)) {
		fmt.Fprintf(&b, "\n%s broken %d times", inv, v.Broken[inv])
	}
	for _, f := range v.Findings {
		fmt.Fprintf(&b, "\n  %v", f)
	}
	for _, why := range v.Void {
		fmt.Fprintf(&b, "\nvoid: %s", why)
	}
	return b.String()
}

// find notes a broken promise.
func (v *Verdict) find(invariant string, t *track, format string, args ...any) {
	if v.Broken == nil {
		v.Broken = map[string]int{}
	}
	v.Broken[invariant]++
	if len(v.Findings) < keptFindings {
		f := Finding{Invariant: invariant, Text: fmt.Sprintf(format, args...)}
		if t != nil {
			f.Client, f.Feed = t.client, t.feed
		}
		v.Findings = append(v.Findings, f)
	}
}

// void notes why the run proves nothing.
func (v *Verdict) void(format string, args ...any) {
	v.Void = append(v.Void, fmt.Sprintf(format, args...))
}
