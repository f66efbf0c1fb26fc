package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

type bus struct{ nc *nats.Conn }

func (b bus) Publish(subject string, body []byte) error {
	if err := b.nc.Publish(subject, body); err != nil {
		return fmt.Errorf("broker: publish %s: %w", subject, mapError(err))
	}
	return nil
}

func (b bus) Request(ctx context.Context, subject string, body []byte) ([]byte, error) {
	m, err := b.nc.RequestWithContext(ctx, subject, body)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("broker: request %s: %w", subject, err)
	}
	if err != nil {
		return nil, fmt.Errorf("broker: request %s: %w", subject, mapError(err))
	}
	return m.Data, nil
}

func (b bus) Subscribe(subject string, h func(subject string, body []byte, reply func([]byte) error)) (func(), error) {
	return b.Serve(subject, "", h)
}

func (b bus) Serve(subject, group string, h func(subject string, body []byte, reply func([]byte) error)) (func(), error) {
	sub, err := b.nc.QueueSubscribe(subject, group, func(m *nats.Msg) {
		if m.Reply == "" {
			h(m.Subject, m.Data, nil)
			return
		}
		h(m.Subject, m.Data, m.Respond)
	})
	if err != nil {
		return nil, fmt.Errorf("broker: subscribe %s: %w", subject, mapError(err))
	}
	if err := sub.SetPendingLimits(20_000, 32<<20); err != nil {
		return nil, fmt.Errorf("broker: subscribe %s: %w", subject, mapError(err))
	}
	// A barrier, so that a request sent next, on any connection, is heard.
	if err := b.nc.FlushTimeout(5 * time.Second); err != nil && b.nc.IsConnected() {
		_ = sub.Unsubscribe() // the connection is going: nothing to tell
		return nil, fmt.Errorf("broker: subscribe %s: %w", subject, mapError(err))
	}
	return func() { _ = sub.Unsubscribe() }, nil //nolint:errcheck // only a closed connection refuses
}

// withTimeout bounds ctx; the library insists on a deadline.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}
