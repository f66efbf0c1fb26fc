package edge

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/access"
	"sluice/internal/broker"
	"sluice/internal/problem"
)

// stream is how a client gets in: room on the node, the API it asks for, what it can
// read, who it is and what it may read, the topic, its turn, the feed, and over to an
// engine. Who may not read learns nothing else: an id is looked up after all of it. Nothing is
// written before the last step, so each error still has a status.
func (s *Server) stream(w http.ResponseWriter, q *request) error {
	s.beginSpan(q)
	if err := s.enter(q); err != nil {
		return err
	}
	if err := s.findAPI(q); err != nil {
		return err
	}
	if err := s.negotiate(q); err != nil {
		return err
	}
	if err := s.authenticate(q); err != nil {
		return err
	}
	if err := s.subscribed(q); err != nil {
		return err
	}
	if q.matchErr != nil {
		return q.matchErr
	}
	if err := s.entitled(q); err != nil {
		return err
	}
	if q.r.Method == http.MethodHead {
		return s.answerHead(w, q)
	}
	if err := s.takeStake(q); err != nil {
		return err
	}
	if err := s.takeTurn(q); err != nil {
		return err
	}
	joined, framing, err := s.join(q)
	if err != nil {
		return err
	}
	if err := s.askAgain(q); err != nil {
		joined.Release()
		return err
	}
	return s.handOver(w, q, joined, framing)
}

// enter takes a place on the node and for the client's address.
func (s *Server) enter(q *request) error {
	if s.phase.Load() == phaseClosed {
		return refuse(problem.Draining, "This node is shutting down.")
	}
	if q.snap.Revision() == 0 {
		return refuse(problem.NotReady, "No API definitions are loaded yet.")
	}
	seat, err := s.admit.enter(q.ip)
	if err != nil {
		return err
	}
	q.seat, q.seated = seat, true
	return nil
}

// findAPI finds the API, and refuses what concerns all of it: its state, and the
// listener it came by.
func (s *Server) findAPI(q *request) error {
	if q.route.API == nil {
		return q.matchErr
	}
	q.api = q.route.API
	if q.api.Spec.State == catalog.StateBlocked {
		return refuse(problem.APIBlocked, "This API is blocked by its publisher.")
	}
	switch {
	case q.tls && !q.api.Allows(catalog.TransportHTTPS):
		return refuse(problem.TransportNotAllowed, "This API does not answer on https.")
	case !q.tls && !q.api.Allows(catalog.TransportHTTP):
		return refuse(problem.HTTPSRequired, "This API answers on https only.")
	}
	return nil
}

// negotiate reads what the client takes and where it wants to begin.
func (s *Server) negotiate(q *request) error {
	if !q.accepts {
		return refuse(problem.NotAcceptable, "The answer is text/event-stream.")
	}
	if len(q.r.Header["Authorization"]) > 1 {
		return refuse(problem.DuplicateHeader, "Authorization was sent more than once.")
	}
	var start catalog.Start
	if q.route.Topic != nil {
		start = q.route.Topic.Start
	}
	c, err := readChoice(q.r.Header, q.query, start, s.now())
	q.choice = c
	return err
}

// answerHead answers HEAD: the checks, status and header of GET; nothing is opened.
func (s *Server) answerHead(w http.ResponseWriter, q *request) error {
	h := w.Header()
	s.setStream(h, q)
	setFraming(h, q.proto, fanout.Identity)
	h.Del("Transfer-Encoding") // no body to delimit
	s.metrics.requested(q.apiLabel(), http.StatusOK)
	w.WriteHeader(http.StatusOK)
	return nil
}

// takeStake takes what the client's plan gives it of what all edges share.
func (s *Server) takeStake(q *request) (err error) {
	if q.principal != nil {
		q.deal = s.asked(q).deal()
	}
	q.stake, q.meter, err = s.metering.admit(q.r.Context(), q)
	return err
}

// takeTurn takes the API's place and waits until the node takes up one more stream.
func (s *Server) takeTurn(q *request) error {
	if err := s.admit.enterAPI(&q.seat, q.api); err != nil {
		return err
	}
	waited, err := s.admit.waitTurn(q.r.Context())
	q.waited = waited
	return err
}

// join opens the feed and finds the place in it: errors still have a status.
func (s *Server) join(q *request) (*fanout.Joined, fanout.Framing, error) {
	framing := s.framing(q)
	t := q.route.Topic
	ref := q.route.Ref()
	began := s.now()
	resume := q.beginResume()
	joined, err := s.hub.Join(q.r.Context(), fanout.Want{
		Feed: ref.ID(),
		Demand: broker.Demand{API: ref.API, Version: ref.Version, Topic: t.Name, Path: ref.Path,
			Query: ref.Query},
		OnDemand:  !t.AlwaysOn(),
		Framing:   framing,
		At:        q.choice.at,
		Else:      q.choice.otherwise,
		MaxEvents: int64(s.cfg.Edge.Resume.MaxEvents),
		MaxBytes:  int64(s.cfg.Edge.Resume.MaxBytes),
		Retention: fanout.Retention{MaxAge: t.Retention.MaxAge, MaxEvents: int64(t.Retention.MaxEvents)},
	})
	if err != nil {
		err = s.joinError(q.r.Context(), err)
		q.endResume(resume, nil, err)
		return nil, 0, err
	}
	q.endResume(resume, joined, nil)
	if k := q.choice.at.Kind; k == fanout.AtID || k == fanout.AtSince {
		s.metrics.resumed(s.now().Sub(began), joined.Behind)
	}
	return joined, framing, nil
}

// joinError maps the hub's errors to answers.
func (s *Server) joinError(ctx context.Context, err error) error {
	k, detail := problem.BrokerUnavailable, "The feed cannot be opened now."
	switch {
	case ctx.Err() != nil:
		return errGone
	case errors.Is(err, fanout.ErrNoSuchFeed):
		k, detail = problem.NoSuchFeed, ""
	case errors.Is(err, fanout.ErrRefusedCap):
		k, detail = problem.TooManyFeeds, "This API has no room for another feed."
	case errors.Is(err, fanout.ErrOverloaded):
		k, detail = problem.Overloaded, "This node has no room for another feed."
	}
	return &problem.Error{Kind: k, Detail: detail, Err: err}
}

// framing is how this body will be delimited for an engine: chunked frames are the
// shard's business only, net/http chunks by itself.
func (s *Server) framing(q *request) fanout.Framing {
	if s.takeable(q) && s.chunked(q) {
		return fanout.Chunked
	}
	return fanout.Identity
}

// chunked reports whether bodies of this request's HTTP/1.1 answer are chunked.
func (s *Server) chunked(q *request) bool {
	how := s.cfg.Edge.Framing
	if own := q.api.Spec.Client.Framing; own != "" {
		how = own
	}
	return how == config.FramingChunked && q.proto == protoHTTP11
}

// slow is the topic's policy with the node's limits.
func (s *Server) slow(q *request) fanout.Slow {
	c := s.cfg.Fanout.Slow
	name := c.Policy
	if own := q.api.Spec.Client.Slow; own != "" {
		name = own
	}
	if own := q.route.Topic.Slow; own != "" {
		name = own
	}
	sl := fanout.Slow{Stall: c.Stall, Lag: int(c.Lag), SoftLag: int(c.SoftLag), SoftTime: c.SoftTime, MaxAge: c.MaxAge}
	switch name {
	case config.SlowBacklog:
		sl.Policy = fanout.Backlog
	case config.SlowLatest:
		sl.Policy = fanout.Latest
	}
	return sl
}

// ends draws the end of a stream's life, Max ± Jitter, or takes the longest stream of
// its plan if that is shorter. Zero = none.
func (s *Server) ends(plan *access.Plan) (at time.Time, reason fanout.Reason) {
	now := s.now()
	if life := s.cfg.Fanout.Life; life.Max > 0 {
		spread := float64(life.Jitter) * (2*rand.Float64() - 1)
		at, reason = now.Add(time.Duration(float64(life.Max)*(1+spread))), fanout.EndLifetime
	}
	if plan != nil && plan.MaxDuration > 0 {
		if most := now.Add(plan.MaxDuration); at.IsZero() || most.Before(at) {
			at, reason = most, fanout.EndMaxDuration
		}
	}
	return at, reason
}
