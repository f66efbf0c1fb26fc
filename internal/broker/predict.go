package broker

import (
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// A plain commit publishes one message after the other, each expecting its predecessor
// as the feed's last. Waiting for every answer costs a round trip per event, so we
// predict: message i+1 goes out expecting the sequence that message i will get.
//
// Alone that would be unsafe. If a foreign message takes the place of message i, message
// i+1 finds exactly the sequence it expects and is stored behind the foreigner, without
// message i. So predicted messages form a chain of identities, too: each has an id, used
// once, and expects the id of the message published before it on the stream, of whatever
// feed. In a chain, an accepted message proves that the one before it is stored and the
// stream's last; by induction back to the feed's own previous message nothing came
// between. Once one is refused, all behind it are.
//
// A message published outside the chain (alone, after a refusal) ends it: whoever still
// publishes for the old chain stops and begins again from what is acknowledged.
type predictor struct {
	batches chan struct{} // a place per open batch

	mu    sync.Mutex
	known bool   // next and last are right, if nobody else writes to the stream
	chain uint64 // number of the chain; a message belongs to one
	next  uint64 // sequence of the next message to be published
	sent  uint64 // messages published so far
	last  string // id of the last one
	id    string // what ids begin with: unique to this predictor

	// After a wrong guess, events go alone for a while, longer each time.
	calm, penalty int
}

const (
	hdrMsgID   = "Nats-Msg-Id"
	hdrWantMsg = "Nats-Expected-Last-Msg-Id"

	openBatches  = 40 // of one stream; the broker refuses more than 50
	leastPenalty = 64
	mostPenalty  = 8192
)

func newPredictor() *predictor {
	return &predictor{id: nuid.Next()[10:], batches: make(chan struct{}, openBatches)}
}

// ticket is the place of one published message.
type ticket struct{ chain, sent uint64 }

// publish sends m in its place in the stream's order. With follow it is part of that
// chain; false says that the chain has ended and nothing was sent. Otherwise it joins
// the present chain, if there is one and alone is false. It returns the sequence that m
// will get if the chain holds. The lock is held while m is handed to the connection, so
// that predictions are in publish order.
func (p *predictor) publish(nc *nats.Conn, m *nats.Msg, follow *uint64, alone bool) (ticket, uint64, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if follow != nil && (!p.known || *follow != p.chain) {
		return ticket{}, 0, false, nil
	}
	chained := p.known && (follow != nil || !alone && p.calm == 0)
	id := p.id + strconv.FormatUint(p.sent, 36)
	m.Header[hdrMsgID] = []string{id}
	if chained {
		m.Header[hdrWantMsg] = []string{p.last}
	} else {
		delete(m.Header, hdrWantMsg)
		p.end()
	}
	if p.calm > 0 {
		p.calm--
	}
	if err := nc.PublishMsg(m); err != nil {
		return ticket{}, 0, false, mapError(err)
	}
	t, seq := ticket{p.chain, p.sent}, p.next
	p.last = id
	p.sent++
	p.next++
	return t, seq, true, nil
}

// end ends the chain, if there is one; p.mu is held.
func (p *predictor) end() {
	if p.known {
		p.known = false
		p.chain++
	}
}

// accepted learns from the answer to a message of the present chain: all sent after it
// follow it.
func (p *predictor) accepted(seq uint64, t ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.chain == p.chain {
		p.known = true
		p.next = seq + p.sent - t.sent
	}
}

// refused ends the chain: the message's place is empty, and so will be all behind it.
func (p *predictor) refused(t ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.chain == p.chain {
		p.known = true // so that messages already sent belong to a chain that has ended
		p.end()
	}
}

// wrong is told of a chain that broke because another process writes to the stream.
func (p *predictor) wrong() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.penalty = min(max(2*p.penalty, leastPenalty), mostPenalty)
	p.calm = p.penalty
}

// clean is told of a flight that went as predicted.
func (p *predictor) clean() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.penalty /= 2
}

// present returns the chain that a flight may begin with.
func (p *predictor) present() (chain uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.chain, p.known && p.calm == 0
}
