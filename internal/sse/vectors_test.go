package sse

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/sse/ssetest"
)

func loadVectors(tb testing.TB) []ssetest.Vector {
	tb.Helper()
	vectors, err := ssetest.Load("testdata/vectors.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return vectors
}

// splits are the places to cut a stream of n bytes at: every one, unless it is long.
func splits(n int) []int {
	var at []int
	for i := range n + 1 {
		if n < 4096 || i < 64 || i > n-64 || i%4099 == 0 {
			at = append(at, i)
		}
	}
	return at
}

func TestVectors(t *testing.T) {
	vectors := loadVectors(t)
	if len(vectors) < 80 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			whole := decode(t, strings.NewReader(v.In), Options{})
			want := trace{Events: v.Events, Log: whole.Log, Last: v.Last, Retry: v.Retry}
			if diff := cmp.Diff(want, whole); diff != "" {
				t.Fatalf("whole (-want +got):\n%s", diff)
			}
			single := decode(t, iotest.OneByteReader(strings.NewReader(v.In)), Options{})
			if diff := cmp.Diff(whole, single); diff != "" {
				t.Fatalf("byte by byte (-whole +got):\n%s", diff)
			}
			for _, at := range splits(len(v.In)) {
				cut := decode(t, halves(v.In, at), Options{})
				if diff := cmp.Diff(whole, cut); diff != "" {
					t.Fatalf("cut at byte %d (-whole +got):\n%s", at, diff)
				}
			}
		})
	}
}

// TestVectorsReference holds the vectors against the standard's text, as the reference parser has it. The choices are
// where the decoder leaves it.
func TestVectorsReference(t *testing.T) {
	for _, v := range loadVectors(t) {
		if strings.HasPrefix(v.Choice, "the standard has no limit") {
			continue
		}
		events, last, retry := reference(v.In)
		got := ssetest.Vector{Name: v.Name, In: v.In, Events: events, Last: last, Retry: retry, WPT: v.WPT, Choice: v.Choice}
		if diff := cmp.Diff(v, got); diff != "" {
			t.Errorf("%s (-vector +reference):\n%s", v.Name, diff)
		}
	}
}
