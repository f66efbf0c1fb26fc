package quota

import (
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

//go:embed allot.lua
var allotText string

//go:embed seats.lua
var seatsText string

//go:embed spend.lua
var spendText string

// keyPrefix is before every key of ours: what the Redis user may touch.
const keyPrefix = "sl:"

// RedisOptions are what a Redis source is made from. URLs is needed.
type RedisOptions struct {
	// URLs are redis://host:port/db, rediss://host:port/db or unix:///path. Several are nodes of one Redis Cluster.
	URLs []string
	// Login answers user and password at each connect, so that a file with one can change; nil = none.
	Login func() (user, password string, err error)
	// TLS is for rediss; nil = the system's authorities.
	TLS *tls.Config
	// WaitReplicas is how many replicas must have an allotment before it counts.
	WaitReplicas int
}

// Redis is a Source that edges share. Its clock is Redis's.
type Redis struct {
	opt     *redis.UniversalOptions
	wait    int
	breaker breaker
	client  atomic.Pointer[redis.UniversalClient]
	allot   *redis.Script
	seats   *redis.Script
	spend   *redis.Script
}

// silent takes what the client library would write on standard error: its failures come back as errors.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

var silence = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

// NewRedis makes a source. It connects when it is first asked: a Redis that is away is no error here.
func NewRedis(o RedisOptions) (*Redis, error) {
	silence()
	opt := &redis.UniversalOptions{
		DialTimeout: 300 * time.Millisecond, ReadTimeout: 150 * time.Millisecond, WriteTimeout: 150 * time.Millisecond,
		PoolTimeout: 100 * time.Millisecond, MaxRetries: 1, DialerRetries: 1, PoolSize: maxCalls, MinIdleConns: 2,
		ContextTimeoutEnabled:    true, // else a context's end does not end a read
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		DisableIdentity:          true, // CLIENT SETINFO is no command of our user
		Protocol:                 2,
		IsClusterMode:            len(o.URLs) > 1,
	}
	for i, u := range o.URLs {
		one, err := redis.ParseURL(u)
		if err != nil {
			return nil, fmt.Errorf("quota: redis URL %d: %w", i, errors.New("not redis://, rediss:// or unix://"))
		}
		opt.Addrs = append(opt.Addrs, one.Addr)
		opt.DB = one.DB
		if one.TLSConfig != nil {
			opt.TLSConfig = one.TLSConfig
			if o.TLS != nil {
				name := one.TLSConfig.ServerName
				if opt.TLSConfig = o.TLS.Clone(); opt.TLSConfig.ServerName == "" {
					opt.TLSConfig.ServerName = name
				}
			}
		}
	}
	if len(opt.Addrs) == 0 {
		return nil, errors.New("quota: no redis URL")
	}
	if o.Login != nil {
		opt.CredentialsProviderContext = func(context.Context) (string, string, error) { return o.Login() }
	}
	r := &Redis{opt: opt, wait: o.WaitReplicas, allot: redis.NewScript(allotText), seats: redis.NewScript(seatsText), spend: redis.NewScript(spendText)}
	r.connect()
	return r, nil
}

// connect replaces the pool of connections.
func (r *Redis) connect() {
	c := redis.NewUniversalClient(r.opt)
	if old := r.client.Swap(&c); old != nil {
		_ = (*old).Close()
	}
}

// Shared implements Source.
func (r *Redis) Shared() bool { return true }

// Close implements Source.
func (r *Redis) Close() error { return (*r.client.Load()).Close() }

// run calls a script whose answer begins with echo. One that does not is the answer of another call: then no connection is trusted.
func (r *Redis) run(ctx context.Context, s *redis.Script, key, echo string, args ...any) ([]any, error) {
	if !r.breaker.allow(time.Now()) {
		return nil, errBroken
	}
	c := *r.client.Load()
	var got []any
	var err error
	if s == r.allot && r.wait > 0 {
		got, err = r.replicated(ctx, c, s, key, args)
	} else {
		got, err = s.Run(ctx, c, []string{key}, args...).Slice()
	}
	if err == nil && (len(got) == 0 || fmt.Sprint(got[0]) != echo) {
		r.connect()
		err = errSwapped
	}
	r.breaker.report(err == nil || late(ctx), time.Now())
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return got, nil
}

// replicated calls a script and waits, on the same connection, until the replicas that are asked for have what it wrote. If they have
// not, the answer counts as lost: it comes with the next one.
func (r *Redis) replicated(ctx context.Context, c redis.UniversalClient, s *redis.Script, key string, args []any) ([]any, error) {
	call := func() (answer, acks *redis.Cmd) {
		_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { //nolint:errcheck // each command has its own
			answer = s.EvalSha(ctx, p, []string{key}, args...)
			acks = p.Do(ctx, "WAIT", r.wait, (callTime / 5).Milliseconds())
			return nil
		})
		return answer, acks
	}
	answer, acks := call()
	if redis.HasErrorPrefix(answer.Err(), "NOSCRIPT") {
		if err := s.Load(ctx, c).Err(); err != nil {
			return nil, err
		}
		answer, acks = call()
	}
	got, err := answer.Slice()
	if err != nil {
		return nil, err
	}
	if n, err := acks.Int(); err != nil {
		return nil, err
	} else if n < r.wait {
		return nil, errReplica
	}
	return got, nil
}

// late tells whether a call ended because its caller went, not because Redis is away.
func late(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

var (
	errBroken  = errors.New("redis is away: asked again in a second")
	errSwapped = errors.New("answer of another call")
	errAnswer  = errors.New("redis: not an answer of our script")
	errReplica = errors.New("too few replicas have it")
)

// Allot implements Source.
func (r *Redis) Allot(ctx context.Context, a Ask) (Allotment, error) {
	call := strconv.FormatUint(a.Call, 10)
	got, err := r.run(ctx, r.allot, quotaName(a.Scope, a.Window), call, a.Edge, call, a.Limit, a.Want, a.Mine, a.Back, a.Spent,
		a.Window.Start.UnixMilli(), a.Window.End.UnixMilli(), max(a.Edges, 1), keepWindow.Milliseconds(), a.Life)
	if err != nil {
		return Allotment{}, err
	}
	n, err := numbers(got, 8)
	if err != nil {
		return Allotment{}, err
	}
	now := time.UnixMicro(n[6])
	switch n[1] {
	case -1:
		return Allotment{}, errLate
	case -2:
		return Allotment{Outside: true, Now: now}, nil
	}
	return Allotment{Given: n[2], Free: n[3], Held: n[4], Left: time.Duration(n[5]) * time.Millisecond, Now: now, Edges: int(n[7])}, nil
}

func (a SeatAsk) args() (key string, args []any) {
	return seatsName(a.Scope), []any{a.Edge, a.Have, a.More, a.Limit, seatLife.Milliseconds()}
}

// Seats implements Source.
func (r *Redis) Seats(ctx context.Context, a SeatAsk) (int, error) {
	key, args := a.args()
	got, err := r.run(ctx, r.seats, key, a.Edge, args...)
	if err != nil {
		return 0, err
	}
	n, err := numbers(got, 2)
	if err != nil {
		return 0, err
	}
	return int(n[1]), nil
}

// Refresh implements Source. Without seats to tell it has Redis know the scripts, so that the first client does not wait for that.
func (r *Redis) Refresh(ctx context.Context, held []SeatAsk) error {
	if !r.breaker.allow(time.Now()) {
		return errBroken
	}
	if len(held) == 0 {
		return r.load(ctx)
	}
	refresh := func(p redis.Pipeliner) error {
		for _, a := range held {
			key, args := a.args()
			r.seats.EvalSha(ctx, p, []string{key}, args...)
		}
		return nil
	}
	c := *r.client.Load()
	_, err := c.Pipelined(ctx, refresh)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		if err = r.seats.Load(ctx, c).Err(); err == nil {
			_, err = c.Pipelined(ctx, refresh)
		}
	}
	r.breaker.report(err == nil || late(ctx), time.Now())
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

func (r *Redis) load(ctx context.Context) error {
	var err error
	for _, s := range []*redis.Script{r.allot, r.seats, r.spend} {
		err = errors.Join(err, s.Load(ctx, *r.client.Load()).Err())
	}
	r.breaker.report(err == nil || late(ctx), time.Now())
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// Spend implements Source.
func (r *Redis) Spend(ctx context.Context, scope string, rate Rate) (Decision, error) {
	got, err := r.run(ctx, r.spend, keyPrefix+"r:{"+scope+"}", scope, scope, rate.interval(), rate.tolerance())
	if err != nil {
		return Decision{}, err
	}
	n, err := numbers(got, 3)
	if err != nil {
		return Decision{}, err
	}
	return Decision{OK: n[1] == 1, RetryAfter: time.Duration(n[2]) * time.Microsecond}, nil
}

// numbers reads an answer of n parts, all but the first numbers.
func numbers(got []any, n int) ([]int64, error) {
	if len(got) != n {
		return nil, errAnswer
	}
	list := make([]int64, n)
	for i, v := range got[1:] {
		var err error
		switch v := v.(type) {
		case int64:
			list[i+1] = v
		case string:
			list[i+1], err = strconv.ParseInt(v, 10, 64)
		default:
			err = errAnswer
		}
		if err != nil {
			return nil, errAnswer
		}
	}
	return list, nil
}

// A source that failed so often in a row is left alone for a while, so that nobody waits for it.
const (
	breakAfter = 5
	breakFor   = time.Second
)

// breaker counts failures in a row. After a pause one call is let through.
type breaker struct {
	mu    sync.Mutex // guards what follows
	bad   int
	until time.Time
}

func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bad < breakAfter {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(breakFor) // the others wait for what this one finds
	return true
}

func (b *breaker) report(ok bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ok {
		b.bad = 0
		return
	}
	if b.bad++; b.bad >= breakAfter {
		b.until = now.Add(breakFor)
	}
}
