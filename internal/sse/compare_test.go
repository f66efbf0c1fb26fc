package sse

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/launchdarkly/eventsource"
	gosse "github.com/tmaxmax/go-sse"
)

// benchEvents is how many events a benchmark stream has: enough that setting a parser up does not count.
const benchEvents = 2000

// benchStream makes events of one data line, about 200 bytes each, as a market feed sends them.
func benchStream() []byte {
	var b bytes.Buffer
	for i := range benchEvents {
		fmt.Fprintf(&b, "event: quote\ndata: {\"f\":\"/quotes/ACME\",\"n\":%d,\"t\":%d,\"s\":\"ACME\",\"b\":101.31,\"a\":101.33,\"v\":300,"+
			"\"pad\":\"%060d\",\"c\":\"9f3a61c2\"}\nid: %d\n\n", 1000000+i, 10420000+i, i, 1000000+i)
	}
	return b.Bytes()
}

// BenchmarkDecode compares this decoder with two Go parsers on single-line events. One op is one event. It guards the
// ratio to go-sse (≥ 5) and zero allocations; reads come in pieces of 16 KiB, as from a socket.
func BenchmarkDecode(b *testing.B) {
	stream := benchStream()
	perEvent := int64(len(stream) / benchEvents)

	run := func(name string, decode func(b *testing.B, r io.Reader, limit int) int) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(perEvent)
			for left := b.N; left > 0; {
				n := decode(b, &pieces{data: stream, size: 16 << 10}, left)
				if n != min(left, benchEvents) {
					b.Fatalf("%d events of %d", n, benchEvents)
				}
				left -= n
			}
		})
	}

	d := NewDecoder(nil, Options{})
	run("sluice", func(_ *testing.B, r io.Reader, limit int) int {
		d.Reset(r)
		n := 0
		for ; n < limit; n++ {
			if _, err := d.Next(); err != nil {
				break
			}
		}
		return n
	})
	run("go-sse", func(_ *testing.B, r io.Reader, limit int) int {
		n := 0
		for _, err := range gosse.Read(r, nil) {
			if err != nil || n == limit {
				break
			}
			n++
		}
		return n
	})
	run("launchdarkly", func(_ *testing.B, r io.Reader, limit int) int {
		dec := eventsource.NewDecoder(r)
		n := 0
		for ; n < limit; n++ {
			if _, err := dec.Decode(); err != nil {
				break
			}
		}
		return n
	})
}

// pieces reads data in pieces of at most size bytes.
type pieces struct {
	data []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(len(p.data), p.size)])
	p.data = p.data[n:]
	return n, nil
}
