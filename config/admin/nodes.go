package admin

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/presence"
)

// Nodes is what the other nodes tell this one.
type Nodes interface {
	// Edges that live, by name.
	Edges() []presence.Edge
	// Await waits until every edge that lives has come to revision rev of the catalog, or ctx ends; ids are the APIs that matter.
	Await(ctx context.Context, rev uint64, ids ...string) presence.Progress
	// Feeds of an API, in any order, and the nodes that did not answer in time.
	Feeds(ctx context.Context, name, version string) (feeds []FeedState, silent []string)
	// Usage tells how limits stand, one Used for each, and how many edges did not tell in time.
	Usage(ctx context.Context, limits []presence.Limit) (u presence.Usage, silent int)
	// Look asks for all that runs.
	Look(ctx context.Context) Look
}

// unheard is Nodes where nobody listens to them.
type unheard struct{}

func (unheard) Edges() []presence.Edge { return nil }

func (unheard) Await(context.Context, uint64, ...string) presence.Progress {
	return presence.Progress{}
}

func (unheard) Feeds(context.Context, string, string) ([]FeedState, []string) { return nil, nil }

func (unheard) Usage(context.Context, []presence.Limit) (presence.Usage, int) {
	return presence.Sum(nil), 0
}

func (unheard) Look(context.Context) Look { return Look{} }

// waitTime is how long a change waits for the edges.
const waitTime = 10 * time.Second

// GetAPIStatus implements ServerInterface.
func (s *Server) GetAPIStatus(c echo.Context, id ID, params GetAPIStatusParams) error {
	r, err := s.find(c, id)
	if err != nil {
		return err
	}
	feeds, silent := s.nodes.Feeds(c.Request().Context(), r.API.Name(), r.API.Version())
	out := APIStatus{ID: r.ID(), State: State(r.API.Spec.State), States: map[string]int{}, Items: []FeedState{}, Total: len(feeds), Silent: append([]string{}, silent...)}
	for i := range feeds {
		f := &feeds[i]
		f.Since, f.LastEventAt = whenKnown(f.Since), whenKnown(f.LastEventAt)
		out.States[f.State]++
		out.Clients += f.Clients
	}
	page, next, err := paginate(feeds, func(f FeedState) cursor { return cursor{f.Path, f.Topic} }, false, params.Limit, params.Cursor)
	if err != nil {
		return err
	}
	out.Items, out.NextCursor = append(out.Items, page...), next
	return answer(c, http.StatusOK, out)
}

// whenKnown is when, and nothing for a time that nobody told.
func whenKnown(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return when(t)
}

// ListEdges implements ServerInterface.
func (s *Server) ListEdges(c echo.Context) error {
	rev := s.catalog.Rev()
	edges := s.nodes.Edges()
	out := EdgeList{Items: []Edge{}, Total: len(edges), Rev: revOf(rev)}
	for _, e := range edges {
		out.Items = append(out.Items, Edge{
			Node: e.Node, Group: e.Group, Version: e.Version, Urls: append([]string{}, e.URLs...), Rev: revOf(e.Rev), Current: e.Rev >= rev,
			Refused: s.visible(c, e.Refused), Clients: e.Clients, Draining: e.Draining, SilentMs: int(time.Since(e.Heard).Milliseconds()),
		})
	}
	return answer(c, http.StatusOK, out)
}

// revOf is a revision as answers have it.
func revOf(rev uint64) int64 { return int64(rev) } //nolint:gosec // a sequence of the store

// visible leaves out of ids the APIs that the caller does not see.
func (s *Server) visible(c echo.Context, ids []string) []string {
	return slices.DeleteFunc(append([]string{}, ids...), func(id string) bool {
		_, err := s.find(c, id)
		return err != nil
	})
}

// everywhere waits for the edges after a change of these APIs, if the caller asked for that. told says that the answer was given: some
// edge does not serve the change.
func (s *Server) everywhere(c echo.Context, w catalog.Write, ids ...string) (told bool, err error) {
	missed := s.missed(c, w, ids...)
	if missed == nil {
		return false, nil
	}
	return true, answer(c, http.StatusAccepted, missed)
}

// missed waits like everywhere and tells which edges do not serve the change; nil = none, or nobody asked.
func (s *Server) missed(c echo.Context, w catalog.Write, ids ...string) *EdgesReached {
	if c.QueryParam("wait") != "edges" || w.DryRun {
		return nil
	}
	rev := s.catalog.Rev() // this node has seen the change
	ctx, cancel := context.WithTimeout(c.Request().Context(), waitTime)
	defer cancel()
	p := s.nodes.Await(ctx, rev, ids...)
	if len(p.Failed) == 0 {
		return nil
	}
	out := &EdgesReached{Rev: revOf(rev), Live: p.Live, Done: p.Done}
	for _, f := range p.Failed {
		late := LateEdge{Node: f.Node, Rev: revOf(f.Rev), Reason: LateEdgeReasonBehind}
		if f.Refused {
			late.Reason = LateEdgeReasonRefused
		}
		out.Failed = append(out.Failed, late)
	}
	return out
}
