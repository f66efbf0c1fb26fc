package presence

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/broker"
)

// TellerConfig is what a Teller needs. All fields but Usage are needed.
type TellerConfig struct {
	Bus broker.Bus
	// Node is this edge's name.
	Node string
	// Say is what the next beat says; Heard is not sent.
	Say func() Edge
	// Moved returns a channel that is closed once Say may say something else, which is then told at once.
	Moved func() <-chan struct{}
	// Clients tells the feeds of an API that clients here read, or all of them.
	Clients func(api, version string, all bool) []Feed
	// Figures tells what this edge has counted.
	Figures func() Figures
	// Usage tells how limits stand, one Used for each; nil = nothing is counted here. It returns soon after ctx ends.
	Usage func(ctx context.Context, limits []Limit) Usage
	Log   *slog.Logger
}

// Teller tells of an edge. Create it with NewTeller.
type Teller struct {
	cfg     TellerConfig
	slots   chan struct{} // a place for each answer under way
	answers sync.WaitGroup

	mu   sync.Mutex // guards over
	over bool       // Run is ending: nothing more is answered
}

// NewTeller returns a Teller. It starts nothing.
func NewTeller(cfg TellerConfig) (*Teller, error) {
	if cfg.Bus == nil || cfg.Node == "" || cfg.Say == nil || cfg.Moved == nil || cfg.Clients == nil || cfg.Figures == nil || cfg.Log == nil {
		return nil, errors.New("presence: bus, node, what to say and logger are needed")
	}
	return &Teller{cfg: cfg, slots: make(chan struct{}, mostAnswers)}, nil
}

// Run beats and answers until ctx ends; then it says goodbye. Call once. The error says that questions cannot be heard at the start.
func (t *Teller) Run(ctx context.Context) error {
	stop, err := t.cfg.Bus.Subscribe(broker.ClientsSubject(t.cfg.Node), t.answer)
	if err != nil {
		return err
	}
	defer t.wait()
	defer stop()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		moved := t.cfg.Moved() // taken before what is said is looked at
		t.beat(false)
		least := time.After(beatLeast)
		select {
		case <-tick.C:
			continue
		case <-moved:
		case <-ctx.Done():
			t.beat(true)
			return nil
		}
		select { // many changes are one beat
		case <-least:
		case <-ctx.Done():
		}
	}
}

// beat sends one. A lost one is made up for by the next.
func (t *Teller) beat(last bool) {
	body, err := beat{Edge: t.cfg.Say(), Gone: last}.encode()
	if err == nil {
		err = t.cfg.Bus.Publish(broker.EdgeBeatSubject(t.cfg.Node), body)
	}
	if err != nil {
		t.cfg.Log.Debug("beat not sent", "error", err)
	}
}
