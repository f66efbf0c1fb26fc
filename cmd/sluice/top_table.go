package main

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
)

// topTable turns a look into lines of text. No line is wider than width.
type topTable struct {
	width int
	plain bool // no colour
}

// head is the node in four lines, and an empty one.
func (t topTable) head(f topFrame) []string {
	n, m := &f.Node, &f.Node.Memory
	r := topRates{}
	if f.Rates != nil {
		r = *f.Rates
	}
	link := t.style(lipgloss.Green, "broker up")
	if !n.BrokerUp {
		link = t.style(lipgloss.Red, "broker down")
	}
	if n.Draining {
		link += "  " + t.style(lipgloss.Yellow, "draining")
	}
	perDelivery := "-"
	if r.CPUPerDelivery > 0 {
		perDelivery = fmt.Sprintf("%.2f us", r.CPUPerDelivery)
	}
	busy := make([]string, 0, 8)
	for i, b := range n.ShardsBusy {
		if i == 8 {
			busy = append(busy, "..")
			break
		}
		busy = append(busy, fmt.Sprintf("%.0f%%", 100*b))
	}
	return []string{
		t.clip(fmt.Sprintf("%s  %s  up %s  %s  ", clean(n.Node), clean(n.Version), span(int64(n.UptimeSeconds*1e3)), strings.Join(n.Roles, ","))) + link,
		t.clip(fmt.Sprintf("clients %d of %d   deliveries %s/s   %s/s   stored %s/s   gaps %.0f", n.Connections, n.ConnectionsLimit,
			short(r.Deliveries), size(r.SentBytes), short(r.Stored), n.GapsTold)),
		t.clip(fmt.Sprintf("cpu %.2f cores   %s per delivery   shards busy %s", r.CPU, perDelivery, strings.Join(busy, " "))),
		t.clip(fmt.Sprintf("mem %s  logs %s  queues %s  tcp %s", share(m.Used, m.Limit), share(m.Fanout, m.FanoutMax),
			share(m.Queues, m.QueuesMax), share(m.Sockets, m.SocketsMax))),
		"",
	}
}

// columns right of the feed's name take so many cells.
const topColumns = 51

// rows is the table of feeds, its title first.
func (t topTable) rows(feeds []feedReport) []string {
	name := max(10, t.width-topColumns)
	title := t.clip(fmt.Sprintf("%-*s %-12s %8s %8s %6s %5s %6s", name, "FEED", "STATE", "EV/S", "CLIENTS", "LAG", "GAPS", "LAST"))
	lines := []string{t.bold(title)}
	for i := range feeds {
		f := &feeds[i]
		label := fmt.Sprintf("%s/%s%s", clean(f.API), clean(f.Version), clean(f.Path))
		state := fmt.Sprintf("%-12s", cut(clean(f.State), 12))
		lag, age := "-", "-"
		if ms := f.lagMs(); ms > 0 {
			lag = span(ms)
		}
		if ms := f.ageMs(); ms >= 0 {
			age = span(ms)
		}
		lines = append(lines, fmt.Sprintf("%-*s %s %8s %8d %6s %5d %6s", name, cut(label, name), t.style(stateColor(f.State), state),
			short(f.perSecond()), f.edge().Clients, lag, f.gaps(), age))
	}
	return lines
}

func (t topTable) clip(s string) string { return cut(s, t.width) }

// cut shortens s to n cells; what clean left of it is one cell per byte.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:max(0, n-1)] + "~"
}

// clean makes text of another program fit for a terminal: printable ASCII.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

func share(used, limit float64) string {
	if limit <= 0 {
		return size(used)
	}
	return fmt.Sprintf("%s/%s %.0f%%", size(used), size(limit), 100*used/limit)
}

// size is bytes in at most 6 cells.
func size(n float64) string {
	for _, unit := range []string{"B", "KB", "MB", "GB"} {
		if n < 1000 {
			return short(n) + unit
		}
		n /= 1024
	}
	return short(n) + "TB"
}

// short is a number in at most 6 cells.
func short(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 10:
		return fmt.Sprintf("%.1f", n)
	case n < 100_000:
		return fmt.Sprintf("%.0f", n)
	case n < 1e7:
		return fmt.Sprintf("%.0fk", n/1e3)
	}
	return fmt.Sprintf("%.0fM", n/1e6)
}

// span is a time in at most 6 cells.
func span(ms int64) string {
	switch d := time.Duration(ms) * time.Millisecond; {
	case d < time.Second:
		return fmt.Sprintf("%dms", ms)
	case d < 100*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 100*time.Minute:
		return fmt.Sprintf("%dm%02d", int(d.Minutes()), int(d.Seconds())%60)
	case d < 100*time.Hour:
		return fmt.Sprintf("%dh%02d", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", min(ms/86_400_000, 99_999))
}
