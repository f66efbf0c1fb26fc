package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sluice/internal/broker"
)

// Bounds of asking an edge how limits are used.
const (
	mostUsages  = 4 // limits in one question
	mostAnswers = 4 // of an edge at a time; more are not answered
	usageTime   = 500 * time.Millisecond
)

// Limit is what is asked about: the events that somebody may have in a window, and the streams that are open.
type Limit struct {
	Kind   string `json:"kind"` // "sub" or "app"
	ID     string `json:"id"`
	Events int64  `json:"events,omitempty"` // of a window; 0 = none are counted
	Every  int    `json:"every,omitempty"`
	Unit   string `json:"unit,omitempty"`
}

// Used is how one limit stands.
type Used struct {
	Start   time.Time `json:"start,omitzero"` // of the window, zero without events
	End     time.Time `json:"end,omitzero"`
	Given   int64     `json:"given"` // to edges; nobody else gets it
	Spent   int64     `json:"spent"` // of it, known to be delivered
	Streams int       `json:"streams"`
}

// Usage is the answer about some limits, in the order of the question.
type Usage struct {
	// Shared: all edges count together, so each answers for all.
	Shared bool      `json:"shared"`
	At     time.Time `json:"at,omitzero"` // by the clock that counts
	Used   []Used    `json:"used,omitempty"`
	// Why tells why nothing is known; "" = Used holds.
	Why string `json:"why,omitempty"`
}

// start answers in the background, unless as much as may be is answered already.
func (t *Teller) start(f func()) {
	select {
	case t.slots <- struct{}{}:
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		<-t.slots
		return
	}
	t.answers.Go(func() { defer func() { <-t.slots }(); f() })
}

// wait lets nothing more be answered and waits for what is.
func (t *Teller) wait() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.answers.Wait()
}

// tellUsage answers a question about limits.
func (t *Teller) tellUsage(limits []Limit, reply func([]byte) error) {
	ctx, cancel := context.WithTimeout(context.Background(), usageTime)
	defer cancel()
	u := t.cfg.Usage(ctx, limits)
	text, err := json.Marshal(page{V: 1, Feeds: []Feed{}, Usage: &u})
	if err == nil {
		err = reply(text)
	}
	if err != nil {
		t.cfg.Log.Debug("usage not told", "error", err)
	}
}

// AskUsage asks an edge how limits stand, at most four. One that counts nothing, or is too old to be asked, fails.
func AskUsage(ctx context.Context, bus broker.Bus, node string, limits []Limit) (Usage, error) {
	body, err := json.Marshal(ask{V: 1, Usage: limits})
	if err != nil {
		return Usage{}, err
	}
	text, err := bus.Request(ctx, broker.ClientsSubject(node), body)
	if err != nil {
		return Usage{}, fmt.Errorf("usage at node %s: %w", node, err)
	}
	var p page
	err = json.Unmarshal(text, &p)
	if err != nil || p.V != 1 || p.Usage == nil || p.Usage.Why == "" && len(p.Usage.Used) != len(limits) {
		return Usage{}, fmt.Errorf("usage at node %s: answer cannot be read: %w", node, errors.Join(err, broker.ErrRefused))
	}
	return *p.Usage, nil
}

// Sum makes one answer of those of edges. One that counts for all is enough; the others count each for itself, and only those that are in
// the newest window count. It knows nothing if nobody does.
func Sum(answers []Usage) Usage {
	var sum Usage
	for _, u := range answers {
		switch {
		case u.Why != "":
			if sum.Used == nil {
				sum.Why = u.Why
			}
		case u.Shared:
			return u
		case sum.Used == nil:
			sum = Usage{At: u.At, Used: append([]Used{}, u.Used...)}
		default:
			if u.At.After(sum.At) {
				sum.At = u.At
			}
			for i, more := range u.Used[:min(len(u.Used), len(sum.Used))] {
				sum.Used[i] = sum.Used[i].and(more)
			}
		}
	}
	if sum.Used == nil && sum.Why == "" {
		sum.Why = "no edge tells"
	}
	return sum
}

// and is both together.
func (u Used) and(more Used) Used {
	streams := u.Streams + more.Streams
	if more.Start.After(u.Start) {
		u, more = more, u
	}
	if more.Start.Equal(u.Start) {
		u.Given += more.Given
		u.Spent += more.Spent
	}
	u.Streams = streams
	return u
}
