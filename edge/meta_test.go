package edge

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
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
			id := newRequestID()
			if i%3 == 0 {
				id = strconv.Itoa(i) // a proxy's
			}
			key := placeKey{feed: broker.FeedID{API: "m", Key: strconv.Itoa(i % 7)}, topic: "/t"}
			n := tab.add(record{}, id, key, catalog.Route{API: api}, [16]byte{})
			if _, used := held[n]; used {
				t.Fatalf("number %d given twice", n)
			}
			held[n] = id
			continue
		}
		for n, id := range held {
			_, got, ok := tab.take(n)
			if !ok || got != id {
				t.Fatalf("number %d: %v %q, want %q", n, ok, got, id)
			}
			if _, _, again := tab.take(n); again {
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
	if len(tab.places) != 0 || len(tab.foreign) != 0 {
		t.Errorf("%d places and %d request ids left", len(tab.places), len(tab.foreign))
	}
}

// A record is per client: the whole process may take 1 KB for an idle one. Thirteen pages
// hold a block.
func TestRecordIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n > 104 {
		t.Errorf("a record takes %d bytes", n)
	}
	if n := unsafe.Sizeof([metaBlock]record{}); n%8192 != 0 {
		t.Errorf("a block of records takes %d bytes, which are no whole pages", n)
	}
}

func TestPackedAddr(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::1", "fe80::1%eth0": "fe80::1",
		"127.0.0.1": "127.0.0.1", "0.0.0.0": "0.0.0.0", "::1": "::1",
	} {
		if got := packAddr(netip.MustParseAddr(in)).addr(); got != netip.MustParseAddr(want) {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
	if got := packAddr(netip.Addr{}).addr(); got.IsValid() {
		t.Errorf("no address became %s", got)
	}
}

func TestPackedID(t *testing.T) {
	for range 100 {
		id := newRequestID()
		if p, own := packID(id); !own || hex.EncodeToString(p[:]) != id {
			t.Fatalf("%s: %x %v", id, p, own)
		}
	}
	for _, id := range []string{"", "abc", "0123456789abcdef012", "0123456789ABCDEF0123", "0123456789abcdefghij", "0123456789abcdef012345"} {
		if _, own := packID(id); own {
			t.Errorf("%q is taken for one of ours", id)
		}
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
