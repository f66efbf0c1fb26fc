package quota

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Usage is how a scope stands, as its source knows: edges tell it what they delivered once a second, and their seats when they change.
type Usage struct {
	// Now is the source's clock, Window the one that it is in; zero for a limit without events.
	Now    time.Time
	Window Window
	Given  int64 // to edges, in this window: nobody else gets it
	Spent  int64 // of it, known to be delivered
	Seats  int   // that edges hold
}

// Viewer is a Source that can be looked at. Looking changes nothing.
type Viewer interface {
	// Usage tells how a scope stands under a limit.
	Usage(ctx context.Context, scope string, l Limit) (Usage, error)
}

// Usage implements Viewer.
func (m *Memory) Usage(ctx context.Context, scope string, l Limit) (Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := Usage{Now: m.now()}
	if l.Events > 0 {
		u.Window = l.Window(u.Now)
		if q := m.quotas[quotaKey{scope, u.Window.Start.UnixMilli()}]; q != nil {
			u.Given, u.Spent = q.given, q.spent
		}
	}
	for _, c := range m.seats[scope] {
		if u.Now.Before(c.until) {
			u.Seats += c.held
		}
	}
	return u, ctx.Err()
}

// Usage implements Viewer.
func (r *Redis) Usage(ctx context.Context, scope string, l Limit) (u Usage, err error) {
	if !r.breaker.allow(time.Now()) {
		return Usage{}, errBroken
	}
	defer func() {
		r.breaker.report(err == nil || late(ctx), time.Now())
		if err != nil {
			u, err = Usage{}, fmt.Errorf("redis: %w", err)
		}
	}()
	c := *r.client.Load()
	if u.Now, err = c.Time(ctx).Result(); err != nil {
		return u, err
	}
	if l.Events > 0 {
		u.Window = l.Window(u.Now)
		counts, err := c.HMGet(ctx, quotaName(scope, u.Window), "g", "s").Result()
		if err != nil {
			return u, err
		}
		u.Given, u.Spent = count(counts, 0), count(counts, 1)
	}
	seats, err := c.HGetAll(ctx, seatsName(scope)).Result()
	if err != nil {
		return u, err
	}
	for _, text := range seats {
		held, until, _ := strings.Cut(text, ":")
		if ms, err := strconv.ParseInt(until, 10, 64); err == nil && u.Now.UnixMilli() < ms {
			n, _ := strconv.Atoi(held) //nolint:errcheck // what is no number counts for none, as in seats.lua
			u.Seats += n
		}
	}
	return u, nil
}

// count is a number of an answer of HMGET; what is not there is 0.
func count(list []any, i int) int64 {
	if i >= len(list) {
		return 0
	}
	text, _ := list[i].(string)
	n, _ := strconv.ParseInt(text, 10, 64) //nolint:errcheck // scripts write numbers only
	return n
}

func quotaName(scope string, w Window) string {
	return keyPrefix + "q:{" + scope + "}:" + strconv.FormatInt(w.Start.Unix(), 10)
}

func seatsName(scope string) string { return keyPrefix + "c:{" + scope + "}" }
