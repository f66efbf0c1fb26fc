package brokertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"sluice/internal/broker"
)

// memoryBus implements broker.Bus.
type memoryBus struct{ m *Memory }

// memorySub is one subscription: a queue and a goroutine that hands it on in order. It
// ends with stop or with its node.
type memorySub struct {
	node    *Memory
	pattern []string
	group   string // "" = none
	handle  func(string, []byte, func([]byte) error)
	queue   []memoryMsg   // guarded by store.mu
	ended   bool          // guarded by store.mu
	wake    chan struct{} // capacity 1
}

type memoryMsg struct {
	subject string
	body    []byte
	reply   func([]byte) error
}

func (b memoryBus) Publish(subject string, body []byte) error {
	_, err := b.publish(subject, body, nil)
	return err
}

func (b memoryBus) publish(subject string, body []byte, reply func([]byte) error) (heard int, err error) {
	s := b.m.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.m.link.Up {
		return 0, fmt.Errorf("publish %s: %w", subject, broker.ErrUnavailable)
	}
	tokens := strings.Split(subject, ".")
	served := map[string]bool{"": false}
	for _, sub := range s.subs {
		if sub.node.link.Up && matches(sub.pattern, tokens) && !served[sub.group] {
			served[sub.group] = sub.group != ""
			sub.queue = append(sub.queue, memoryMsg{subject, bytes.Clone(body), reply})
			sub.signal()
			heard++
		}
	}
	if len(tokens) > 2 && tokens[0] == "bcn" {
		f := broker.FeedID{API: tokens[1], Key: strings.Join(tokens[2:], ".")}
		beacon, err := broker.DecodeBeacon(body)
		s.deliver(broker.Delivery{Kind: broker.KindBeacon, Feed: f, Beacon: beacon, Err: err})
	}
	return heard, nil
}

// matches tells whether a subject matches a pattern with "*" and a last ">".
func matches(pattern, subject []string) bool {
	for i, p := range pattern {
		if p == ">" {
			return len(subject) > i
		}
		if i >= len(subject) || p != "*" && p != subject[i] {
			return false
		}
	}
	return len(pattern) == len(subject)
}

func (b memoryBus) Request(ctx context.Context, subject string, body []byte) ([]byte, error) {
	answers := make(chan []byte, 1)
	heard, err := b.publish(subject, body, func(answer []byte) error {
		select {
		case answers <- bytes.Clone(answer):
		default: // somebody else was faster
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if heard == 0 {
		return nil, fmt.Errorf("request %s: nobody listens: %w", subject, broker.ErrUnavailable)
	}
	select {
	case a := <-answers:
		return a, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("request %s: %w", subject, ctx.Err())
	}
}

func (b memoryBus) Subscribe(subject string, h func(string, []byte, func([]byte) error)) (func(), error) {
	return b.Serve(subject, "", h)
}

func (b memoryBus) Serve(subject, group string, h func(string, []byte, func([]byte) error)) (func(), error) {
	sub := &memorySub{
		node: b.m, pattern: strings.Split(subject, "."), group: group, handle: h, wake: make(chan struct{}, 1),
	}
	s := b.m.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs = append(s.subs, sub)
	go sub.run(s)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		sub.end()
		s.subs = slices.DeleteFunc(s.subs, func(x *memorySub) bool { return x == sub })
	}, nil
}

func (sub *memorySub) run(s *store) {
	for range sub.wake {
		for {
			s.mu.Lock()
			queue, ended := sub.queue, sub.ended
			sub.queue = nil
			s.mu.Unlock()
			if ended {
				return
			}
			if len(queue) == 0 {
				break
			}
			for _, m := range queue {
				sub.handle(m.subject, m.body, m.reply)
			}
		}
	}
}

// end lets the goroutine go; store.mu is held.
func (sub *memorySub) end() {
	sub.ended = true
	sub.signal()
}

func (sub *memorySub) signal() {
	select {
	case sub.wake <- struct{}{}:
	default:
	}
}
