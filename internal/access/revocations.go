package access

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"sluice/internal/broker"
	"sluice/internal/problem"
)

// Revoke ends every credential of what r names that was issued until now, or before r.Before: also those of that very second, because
// tokens tell whole seconds. Of r count Kind, Value, Before, Reason and Hard. Revoking again moves the time forward, never back.
func (s *Store) Revoke(ctx context.Context, w Write, r Revocation) (*Revocation, error) {
	now := s.now().UTC()
	if r.Before.IsZero() {
		r.Before = now
	}
	r.Before = r.Before.UTC().Truncate(time.Second).Add(time.Second)
	r.Until, r.By, r.Rev = now.Add(revokedFor), w.By, 0
	if err := r.check(now); err != nil {
		return nil, err
	}
	key := revokeRecordKey(r.Kind, r.Value)
	rev, err := s.changeRevoked(ctx, w, key, func(old *Revocation, n int) (any, error) {
		if n >= mostRevocations && old == nil {
			return nil, tooMany("revocations")
		}
		if old != nil && old.Before.After(r.Before) {
			r.Before = old.Before
		}
		return r, nil
	})
	if err != nil {
		return nil, err
	}
	r.Rev = rev
	return &r, nil
}

// DeleteRevocation lets the credentials count again, as far as they have not ended otherwise. Streams that were cut stay cut.
func (s *Store) DeleteRevocation(ctx context.Context, w Write, kind RevokeKind, value string) error {
	_, err := s.changeRevoked(ctx, w, revokeRecordKey(kind, value), func(old *Revocation, _ int) (any, error) {
		if old == nil {
			return nil, notFound("revocation")
		}
		return nil, nil
	})
	return err
}

// changeRevoked writes what f makes of the revocation of a key and of how many there are; nil deletes it.
func (s *Store) changeRevoked(ctx context.Context, w Write, key string, f func(old *Revocation, n int) (any, error)) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var lost error
	for range mostTries {
		bucket, err := s.writable(&s.revoke)
		if err != nil {
			return 0, err
		}
		last, err := bucket.Last(ctx, key)
		if err != nil {
			return 0, stored(errors.Join(err, lost))
		}
		var old *Revocation
		if last.Revision > 0 && !last.Deleted {
			record, err := decodeRevoke(last)
			if err != nil {
				return 0, &problem.Error{Kind: problem.Conflict, Detail: "The stored revocation cannot be read.", Err: err}
			}
			old = record.(*Revocation)
			if err := w.expected(old.Rev); err != nil && lost == nil {
				return 0, err
			}
		}
		next, err := f(old, s.revocations())
		if err != nil || w.DryRun {
			return 0, err
		}
		write := broker.BucketWrite{Key: key, Revision: last.Revision, Delete: next == nil}
		if next != nil {
			if write.Value, err = json.Marshal(next); err != nil {
				return 0, err
			}
		}
		rev, err := bucket.Batch(ctx, []broker.BucketWrite{write})
		switch {
		case err == nil:
			s.take(&s.revoke, []broker.Entry{{Key: key, Value: write.Value, Deleted: write.Delete, Revision: rev}})
			s.log.LogAttrs(ctx, slog.LevelInfo, "access.revoke", slog.String("by", w.By), slog.String("key", key), slog.Bool("deleted", write.Delete),
				slog.Uint64("rev", rev))
			return rev, nil
		case errors.Is(err, broker.ErrConflict):
		case errors.Is(err, broker.ErrUnknownOutcome), errors.Is(err, broker.ErrBusy):
			lost = err
		default:
			return 0, stored(err)
		}
		if err := pause(ctx); err != nil {
			return 0, err
		}
	}
	return 0, unavailable("Too many changes at once.", lost)
}

func (s *Store) revocations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.revoke.table.records)
}

func (r *Revocation) check(now time.Time) error {
	var c checker
	switch r.Kind {
	case RevokeToken:
		c.value(isPair(r.Value), "/value", "must be an issuer, a space and a token's id")
	case RevokeSubject:
		c.value(isPair(r.Value), "/value", "must be an issuer, a space and a subject")
	case RevokeApplication:
		c.value(isID(r.Value), "/value", "must be an application's id")
	case RevokeIssuer:
		c.word("/value", r.Value, longestText)
	default:
		c.value(false, "/kind", "must be one of jti, subject, app, issuer")
	}
	c.value(!r.Before.After(now.Add(time.Minute)), "/before", "must not lie in the future")
	c.line("/reason", r.Reason, longestText)
	return c.err()
}
