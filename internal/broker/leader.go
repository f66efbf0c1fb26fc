package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// getRequest is the body of both message-get requests.
type getRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	LastFor   string     `json:"last_by_subj,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	Batch     int        `json:"batch,omitempty"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	MultiLast []string   `json:"multi_last,omitempty"`
}

func (r getRequest) encode() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic("broker: a request holds only numbers, strings and a time of this age: " + err.Error())
	}
	return text
}

// leaderMessage is a message as the stream's leader tells it.
type leaderMessage struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Hdrs    []byte    `json:"hdrs"`
	Data    []byte    `json:"data"`
	Time    time.Time `json:"time"`

	header nats.Header
}

// leaderGet reads one message from the stream's leader: the library's call would ask
// any replica. ErrNotFound if there is none.
func leaderGet(ctx context.Context, box *inbox, stream string, r getRequest) (leaderMessage, error) {
	m, err := box.ask(ctx, &nats.Msg{Subject: "$JS.API.STREAM.MSG.GET." + stream, Data: r.encode()})
	if err == nil {
		err = jsAnswerError(m)
	}
	if err != nil {
		return leaderMessage{}, readError(err)
	}
	var answer struct {
		Message leaderMessage `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return leaderMessage{}, fmt.Errorf("%w: unreadable answer: %w", ErrUnavailable, err)
	}
	lm := answer.Message
	if len(lm.Hdrs) > 0 {
		if lm.header, err = nats.DecodeHeadersMsg(lm.Hdrs); err != nil {
			return leaderMessage{}, fmt.Errorf("%w: %w", ErrForeign, err)
		}
	}
	return lm, nil
}

// leaderLast reads the feed's last message from the leader. A foreign one comes with
// its position and ErrForeign.
func leaderLast(ctx context.Context, box *inbox, f FeedID) (stored, error) {
	lm, err := leaderGet(ctx, box, streamName(f.API), getRequest{LastFor: f.Subject()})
	if err != nil {
		return stored{}, err
	}
	s := stored{Message: Message{Position: Position{Seq: lm.Seq, Micros: lm.Time.UnixMicro()}}}
	return s, s.parseOwn(lm.header, lm.Data)
}
