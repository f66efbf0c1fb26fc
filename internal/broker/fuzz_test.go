package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// rawHeader is a stored message's header block as it comes from the broker.
func rawHeader(fields ...string) string {
	return "NATS/1.0\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

func placed(seq, last uint64, own ...string) string {
	at := time.UnixMicro(1_700_000_000_000_000 + int64(seq)).UTC().Format(time.RFC3339Nano)
	return rawHeader(append(own, "Nats-Stream: EV_a", "Nats-Subject: ev.a.b", fmt.Sprint("Nats-Sequence: ", seq),
		"Nats-Time-Stamp: "+at, fmt.Sprint("Nats-Last-Sequence: ", last))...)
}

// Whatever is stored under a feed's subject: what is taken for ours can end no frame,
// inject no field and links backwards.
func FuzzStoredMessage(f *testing.F) {
	good := "data: x\n"
	f.Add([]byte(placed(5, 3, "Sse-Tx: a.b", "Sse-Prev: 3")), []byte(good))
	f.Add([]byte(placed(5, 4, "Sse-Tx: 1.2.3", "Sse-Id: a%20b", "Sse-Rx: zz", "Sse-Ctl: gap")), []byte("event: e\ndata:\n"))
	f.Add([]byte(placed(5, 3)), []byte(good))
	f.Add([]byte(placed(5, 3, "Sse-Tx: 1.1", "Sse-Prev: 5")), []byte(good))
	f.Add([]byte(placed(5, 3, "Sse-Tx: 1.1", "Sse-Prev: -1")), []byte(good))
	f.Add([]byte(placed(5, 3, "Sse-Tx: 1.1", "Nats-Sequence: 9")), []byte(good))
	f.Add([]byte(placed(5, 3, "Sse-Tx: 1.1", "Sse-Id: %0")), []byte(good))
	f.Add([]byte(placed(5, 3, "Sse-Tx: 1.1", "Sse-Ctl: x")), []byte(good))
	for _, body := range []string{"", "\n", "data: x", "data: x\n\n", "data: x\r\n", "id: 1\n", ": c\n", "data: x\nretry: 1\n", "dat: x\n"} {
		f.Add([]byte(placed(5, 3, "Sse-Tx: 1.1")), []byte(body))
	}
	f.Fuzz(func(t *testing.T, header, body []byte) {
		h, err := nats.DecodeHeadersMsg(header)
		if err != nil {
			return
		}
		s, err := parseReceived("ev.a.b", h, body)
		if err != nil {
			if !errors.Is(err, ErrForeign) {
				t.Fatalf("error %v is not ErrForeign", err)
			}
			return
		}
		if len(body) == 0 || bytes.ContainsAny(body, "\r") || bytes.Contains(body, []byte("\n\n")) || body[len(body)-1] != '\n' {
			t.Fatalf("body %q taken", body)
		}
		for line := range bytes.Lines(body) {
			if !bytes.HasPrefix(line, []byte("data:")) && !bytes.HasPrefix(line, []byte("event:")) {
				t.Fatalf("line %q taken", line)
			}
		}
		if s.Seq == 0 || s.Link >= s.Seq || value(h, hdrTx) == "" || lastValue(h, hdrSubject) != "ev.a.b" || len(s.UpstreamID) > maxUpstreamID {
			t.Fatalf("message %+v taken", s)
		}
		if id, ok := unescapeID(escapeID(s.UpstreamID)); !ok || id != s.UpstreamID {
			t.Fatalf("id %q comes back as %q", s.UpstreamID, id)
		}
	})
}

// What a writer puts into the headers comes back, for any upstream id.
func FuzzHeader(f *testing.F) {
	f.Add("", uint64(0), uint64(0), 0, false)
	f.Add("a b%\r\n\x00\xff", uint64(1<<63), uint64(7), 511, true)
	f.Fuzz(func(t *testing.T, id string, epoch, tx uint64, index int, gap bool) {
		if len(id) > maxUpstreamID || index < 0 || index > 1<<20 {
			return
		}
		c := &Commit{Epoch: epoch, Tx: tx, Events: make([]Event, 1)}
		c.Events[0] = Event{UpstreamID: id, Gap: gap, Rx: 1 + int64(epoch>>1)}
		h := nats.Header{}
		c.header(h, 0, 4, false)
		h[hdrTx] = []string{formatTx(epoch, tx, index)}
		m := &nats.Msg{Subject: "x", Header: h}
		var block strings.Builder
		for k, vs := range m.Header {
			if strings.ContainsAny(vs[0], " \r\n\t") {
				t.Fatalf("header %s: %q would be trimmed or cut", k, vs[0])
			}
			block.WriteString(k + ": " + vs[0] + "\r\n")
		}
		back, err := nats.DecodeHeadersMsg([]byte("NATS/1.0\r\n" + block.String() + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		s := stored{Message: Message{Position: Position{Seq: 9}}}
		if err := s.parseOwn(back, []byte("data:\n")); err != nil {
			t.Fatal(err)
		}
		if s.UpstreamID != id || s.Epoch != epoch || s.Tx != tx || s.index != index || s.Gap != gap || s.Link != 4 || s.Rx != c.Events[0].Rx {
			t.Fatalf("came back as %+v", s)
		}
	})
}

// replies is a whole answer of n messages of one feed, as the broker sends it.
func replies(n int) []*nats.Msg {
	ms := make([]*nats.Msg, 0, n+1)
	var last uint64
	for i := range n {
		seq := uint64(10 + 3*i)
		ms = append(ms, mustMsg(placed(seq, last, "Sse-Tx: 1.1", "Nats-Num-Pending: "+strconv.Itoa(n-i-1)), "data: x\n"))
		last = seq
	}
	return append(ms, mustMsg("NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: "+strconv.FormatUint(last, 10)+"\r\n\r\n", ""))
}

func mustMsg(header, body string) *nats.Msg {
	h, err := nats.DecodeHeadersMsg([]byte(header))
	if err != nil {
		panic(err)
	}
	return &nats.Msg{Header: h, Data: []byte(body)}
}

// An answer that lost messages on the way, or has them in another order or twice, never
// looks whole: either the end was not reached, or there is an error, or all are there.
func FuzzDirectReply(f *testing.F) {
	f.Add(uint8(5), []byte{})
	f.Add(uint8(5), []byte{0, 2})               // drop the third
	f.Add(uint8(5), []byte{0, 4})               // drop the last before the end
	f.Add(uint8(5), []byte{1, 0, 1, 3})         // swap
	f.Add(uint8(5), []byte{2, 1})               // double
	f.Add(uint8(5), []byte{0, 5})               // no end
	f.Add(uint8(3), []byte{3, 1})               // 404 in the middle
	f.Add(uint8(200), []byte{0, 0, 0, 0, 4, 9}) // a foreign end
	f.Fuzz(func(t *testing.T, count uint8, ops []byte) {
		n := 1 + int(count)
		whole := replies(n)
		sent := slices.Clone(whole)
		for len(ops) >= 2 && len(sent) > 0 {
			op, at := ops[0]%5, int(binary.BigEndian.Uint16([]byte{0, ops[1]}))%len(sent)
			ops = ops[2:]
			switch op {
			case 0:
				sent = slices.Delete(sent, at, at+1)
			case 1:
				next := (at + 1) % len(sent)
				sent[at], sent[next] = sent[next], sent[at]
			case 2:
				sent = slices.Insert(sent, at, sent[at])
			case 3:
				sent = slices.Insert(sent, at, mustMsg("NATS/1.0 404 Message Not Found\r\n\r\n", ""))
			case 4:
				sent = slices.Insert(sent, at, mustMsg("NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 13\r\n\r\n", ""))
			}
		}
		a := &answer{subject: "ev.a.b"}
		for _, m := range sent {
			if a.add(m) {
				break
			}
		}
		if !a.ended || a.err != nil {
			return
		}
		var b Block
		a.fill(&b)
		if len(b.Messages) == 0 && b.Next == 0 && !b.More {
			if value(sent[0].Header, hdrStatus) != "404" {
				t.Fatal("an answer without messages looks like an empty feed")
			}
			return
		}
		for i := range b.Messages {
			if b.Messages[i].Seq != uint64(10+3*i) {
				t.Fatalf("message %d of a whole answer is %d", i, b.Messages[i].Seq)
			}
		}
		end := lastValue(sent[len(b.Messages)].Header, hdrLast)
		if end != strconv.FormatUint(b.Messages[len(b.Messages)-1].Seq, 10) {
			t.Fatalf("%d messages taken for whole, the end named %s", len(b.Messages), end)
		}
	})
}

// A beacon is read as it was written, or refused.
func FuzzBeacon(f *testing.F) {
	f.Add([]byte(`{"v":1,"node":"n","e":3,"s":4,"t":5,"u":"up","since":6,"why":"w"}`))
	f.Add([]byte(`{"v":2,"u":"up"}`))
	f.Add([]byte(`{"v":1,"u":"up","t":5}`))
	f.Add([]byte(`{}`))
	f.Add(EncodeBeacon(Beacon{Node: "x", State: StateTLS, Why: strings.Repeat("é", 100)}))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := DecodeBeacon(text)
		if err != nil {
			if b != (Beacon{}) {
				t.Fatalf("refused, but %+v", b)
			}
			return
		}
		if !slices.Contains(States(), b.State) || b.Micros < 0 || b.Seq == 0 && b.Micros != 0 {
			t.Fatalf("taken: %+v", b)
		}
		again, err := DecodeBeacon(EncodeBeacon(b))
		if len(b.Why) <= maxBeaconWhy && (err != nil || again != b) {
			t.Fatalf("%+v came back as %+v, %v", b, again, err)
		}
		if err != nil || len(again.Why) > maxBeaconWhy {
			t.Fatalf("written beacon is refused: %+v, %v", again, err)
		}
	})
}
