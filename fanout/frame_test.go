package fanout

import (
	"bytes"
	"io"
	"net/http/httputil"
	"testing"

	"sluice/internal/broker"
)

func TestFrameHasItsIDLast(t *testing.T) {
	got := AppendFrame([]byte("x"), []byte("event: quote\ndata: 1\ndata:\n"), broker.Position{Seq: 36, Micros: 37})
	if want := "xevent: quote\ndata: 1\ndata:\nid: 10-11\n\n"; string(got) != want {
		t.Errorf("frame is %q, want %q", got, want)
	}
}

func TestChunksReadBack(t *testing.T) {
	var body, want []byte
	for _, n := range []int{1, 15, 16, 17, 255, 256, 257, 4095, 4096, 65536, 1 << 20} {
		b := bytes.Repeat([]byte{byte(n)}, n)
		before := len(body)
		body, want = AppendChunk(body, b), append(want, b...)
		if over := len(body) - before - n; over != chunkOverhead(n) {
			t.Errorf("chunk of %d bytes has %d more, chunkOverhead says %d", n, over, chunkOverhead(n))
		}
	}
	body = append(AppendChunk(body, nil), LastChunk...)
	got, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d of %d bytes, %v", len(got), len(want), err)
	}
}
