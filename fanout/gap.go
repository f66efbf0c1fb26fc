package fanout

import (
	"strconv"

	"sluice/internal/broker"
	"sluice/internal/sse"
)

// GapReason says why a client cannot get the events of a gap.
type GapReason string

// Reasons of gaps that an edge tells. Those of ingest are stored in the feed.
const (
	GapExpired      GapReason = "expired"       // older than the topic keeps
	GapReset        GapReason = "reset"         // the log was recreated or restored, or its tail is lost
	GapUnknown      GapReason = "unknown"       // unreadable, or never of this feed
	GapBacklogLimit GapReason = "backlog-limit" // more than one resume carries
	GapSlow         GapReason = "slow"          // this reader, policy latest
	GapStoreLoss    GapReason = "store-loss"    // a hole in the store
)

// gapEvent names the event that tells a gap.
const gapEvent = sse.GatewayPrefix + "gap"

// Gap is what a client is told at a hole, before what follows it. The lost events
// lie strictly between From and To.
type Gap struct {
	Reason   GapReason
	From     broker.Position // what the client has; zero = null
	To       broker.Position // first event that follows; zero = null: nothing yet
	Possible bool            // loss is not proven
	Doubles  bool            // events already seen may come again under new ids
	Missed   uint64          // exact count, 0 = not known
}

// AppendGap appends the frame of g. It has no id: a gap never moves a client's
// position.
func AppendGap(dst []byte, g Gap) []byte {
	var room [256]byte
	b := append(room[:0], `{"reason":"`...)
	b = append(b, g.Reason...)
	b = appendGapID(append(b, `","from":`...), g.From)
	b = appendGapID(append(b, `,"to":`...), g.To)
	b = strconv.AppendBool(append(b, `,"possible":`...), g.Possible)
	if g.Doubles {
		b = append(b, `,"doubles":true`...)
	}
	if g.Missed > 0 {
		b = strconv.AppendUint(append(b, `,"missed":`...), g.Missed, 10)
	}
	return sse.AppendControl(dst, gapEvent, append(b, '}'), "")
}

func appendGapID(dst []byte, p broker.Position) []byte {
	if p.Micros <= 0 {
		return append(dst, "null"...)
	}
	return append(AppendID(append(dst, '"'), p), '"')
}
