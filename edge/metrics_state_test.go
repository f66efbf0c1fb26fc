package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/broker"
)

// A feed counts as stale for the same reasons and after the same times as gateway.stale
// tells: here the owner's silence, and a lost broker link before that.
func TestStaleFeedsAreCounted(t *testing.T) {
	r := newRig(t)
	r.get("/market/1.0.0/ticks").takeRetry(t)
	link := broker.Link{Up: true}
	after := func(d time.Duration) string {
		s := &Server{hub: r.hub, now: func() time.Time { return time.Now().Add(d) }, link: func() broker.Link { return link }}
		reg := prometheus.NewRegistry()
		reg.MustRegister(newStaleCollector(s))
		families, err := reg.Gather()
		if err != nil || len(families) == 0 {
			return ""
		}
		return families[0].String()
	}
	if got := after(0); got != "" {
		t.Errorf("fresh: %s", got)
	}
	if got := after(ownerAfter + time.Second); !strings.Contains(got, `value:"owner"`) || !strings.Contains(got, `value:"market@1.0.0"`) {
		t.Errorf("no word of the owner: %q", got)
	}
	link = broker.Link{Since: time.Now()}
	if got := after(staleAfter + time.Second); !strings.Contains(got, `value:"broker"`) {
		t.Errorf("link lost: %q", got)
	}
}
