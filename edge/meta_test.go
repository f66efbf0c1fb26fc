package edge

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/broker"
)

func TestMetaTableReusesSlots(t *testing.T) {
	tab := newMetaTable()
	api := &catalog.API{Metadata: catalog.Metadata{Name: "m"}, Spec: catalog.Spec{Version: "1"}}
	rng := rand.New(rand.NewPCG(1, 2))
	held := map[uint32]string{}
	for i := range 20_000 {
		if len(held) < 500 && rng.IntN(2) == 0 || len(held) == 0 {
			id := strconv.Itoa(i)
			key := placeKey{feed: broker.FeedID{API: "m", Key: strconv.Itoa(i % 7)}, topic: "/t"}
			n := tab.add(record{id: id}, key, catalog.Route{API: api})
			if _, used := held[n]; used {
				t.Fatalf("number %d given twice", n)
			}
			held[n] = id
			continue
		}
		for n, id := range held {
			rec, ok := tab.take(n)
			if !ok || rec.id != id {
				t.Fatalf("number %d: %v %q, want %q", n, ok, rec.id, id)
			}
			if _, again := tab.take(n); again {
				t.Fatalf("number %d taken twice", n)
			}
			delete(held, n)
			break
		}
		if tab.open() != len(held) {
			t.Fatalf("%d open, want %d", tab.open(), len(held))
		}
	}
	if tab.next > 600 {
		t.Errorf("%d slots for 500 streams", tab.next)
	}
	for n := range held {
		tab.take(n)
	}
	if len(tab.places) != 0 {
		t.Errorf("%d places left", len(tab.places))
	}
}

// A record is per client: the whole process may take 1 KB for an idle one.
func TestRecordIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n > 208 {
		t.Errorf("a record takes %d bytes", n)
	}
}

func TestEndBytes(t *testing.T) {
	form := regexp.MustCompile(`^retry: (\d+)\nevent: gateway\.end\ndata: \{"reason":"([a-z-]+)","retryable":(true|false),"retryAfterMs":(\d+)\}\n\n$`)
	for _, c := range []struct {
		reason    fanout.Reason
		from, to  int
		retryable bool
	}{
		{fanout.EndDrain, 100, 2000, true}, {fanout.EndLifetime, 100, 2000, true}, {endVersionMoved, 100, 2000, true},
		{fanout.EndUnavailable, 5000, 30000, true},
		{endAPIBlocked, 2000, 5000, false}, {endAPIUnpublished, 2000, 5000, false}, {endAPIRetired, 2000, 5000, false},
		{endAPIDeleted, 2000, 5000, false}, {endTopicDeleted, 2000, 5000, false}, {endTransportClosed, 2000, 5000, false},
		{endAccessChanged, 2000, 5000, false},
	} {
		low, high := 1<<30, 0
		for range 1000 {
			got := string(EndBytes([]byte(nil), c.reason))
			m := form.FindStringSubmatch(got)
			if m == nil || m[1] != m[4] || m[2] != string(c.reason) || m[3] != fmt.Sprint(c.retryable) {
				t.Fatalf("%s: %q", c.reason, got)
			}
			ms, _ := strconv.Atoi(m[1])
			low, high = min(low, ms), max(high, ms)
		}
		if low < c.from || high > c.to || high-low < (c.to-c.from)*9/10 {
			t.Errorf("%s: retry %d–%d, want ≥ 90 %% of %d–%d", c.reason, low, high, c.from, c.to)
		}
	}
	for _, r := range []fanout.Reason{fanout.EndClient, fanout.EndSlow, fanout.EndStall, fanout.EndAbuse, fanout.EndError, ""} {
		if b := EndBytes([]byte("x"), r); string(b) != "x" {
			t.Errorf("%q tells %q", r, b)
		}
	}
}

func TestFirstRetrySpansItsRange(t *testing.T) {
	low, high := uint64(1<<30), uint64(0)
	for range 1000 {
		ms := headSpan(2 * time.Second).draw()
		low, high = min(low, ms), max(high, ms)
	}
	if low < 2000 || high > 5000 || high-low < 2700 {
		t.Errorf("retry %d–%d, want ≥ 90 %% of 2000–5000", low, high)
	}
}
