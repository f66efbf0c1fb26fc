//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"sluice/test/topology"
)

// show is the page in the terminal. It owns the goroutine that looks at the processes, and waits for it.
func show(ctx context.Context, t *topology.Topology, hints []string) error {
	m := &page{t: t, hints: hints, width: 80, height: 24}
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithoutSignalHandler())
	looking, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); keepLooking(looking, t, p.Send) }()
	_, err := p.Run()
	stop()
	<-done
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return nil
	}
	return err
}

// row is what the page shows of one process.
type row struct {
	name, addr, state, clients, feeds, deliveries string
	pid, starts                                   int
	ok                                            bool
	last                                          string // line of its log
}

// report is what of GET /status is shown.
type report struct {
	Connections int     `json:"connections"`
	Deliveries  float64 `json:"deliveries"`
	Draining    bool    `json:"draining"`
	BrokerUp    bool    `json:"brokerUp"`
}

// keepLooking tells what it sees once a second until ctx ends.
func keepLooking(ctx context.Context, t *topology.Topology, tell func(tea.Msg)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := map[string]float64{}
	for {
		tell(look(ctx, t, before))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func look(ctx context.Context, t *topology.Topology, before map[string]float64) (rows []row) {
	for _, p := range t.All() {
		r := row{name: p.Name, addr: p.Addr, pid: p.PID(), starts: p.Starts(), last: lastLine(p.Log)}
		if r.addr == "" {
			r.addr = p.Ops
		}
		switch {
		case !p.Running():
			r.state = p.Ended()
		case p.Ready(ctx):
			r.state, r.ok = "ready", true
		default:
			r.state = "not ready"
		}
		switch p.Kind {
		case topology.Edge:
			var s report
			if ask(ctx, "http://"+p.Ops+"/status", &s) == nil {
				r.clients = fmt.Sprint(s.Connections)
				if was, ok := before[p.Name]; ok {
					r.deliveries = fmt.Sprintf("%.0f/s", max(0, s.Deliveries-was))
				}
				before[p.Name] = s.Deliveries
				if s.Draining {
					r.state = "draining"
				}
			}
		case topology.Ingest:
			var all struct {
				Feeds []struct{ Node string }
			}
			if ask(ctx, "http://"+p.Ops+"/feeds", &all) == nil {
				n := 0
				for _, f := range all.Feeds {
					if f.Node == p.Name {
						n++
					}
				}
				r.feeds = fmt.Sprint(n)
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func ask(ctx context.Context, url string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(answer)
}

// lastLine is the end of a log.
func lastLine(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 4<<10)
	end, err := f.Seek(0, 2)
	if err != nil {
		return ""
	}
	n, _ := f.ReadAt(b, max(0, end-int64(len(b)))) // short at the end of the file
	lines := strings.Split(strings.TrimSpace(string(b[:n])), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, lines[len(lines)-1])
}

// page is the live table. It belongs to the program's goroutine.
type page struct {
	t             *topology.Topology
	hints         []string
	rows          []row
	at            int
	width, height int
	note          string
}

// Init implements tea.Model.
func (m *page) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (m *page) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case []row:
		m.rows = msg
	case tea.KeyPressMsg:
		return m.key(msg.String())
	}
	return m, nil
}

func (m *page) key(key string) (tea.Model, tea.Cmd) {
	p := m.t.All()[m.at]
	act := func(what string, err error) {
		m.note = what + " " + p.Name
		if err != nil {
			m.note = err.Error()
		}
	}
	switch key {
	case "q", "esc", "ctrl+c":
		return m, tea.Quit
	case "up":
		m.at = max(0, m.at-1)
	case "down":
		m.at = min(len(m.t.All())-1, m.at+1)
	case "k":
		act("kill -9 sent to", p.Signal(syscall.SIGKILL))
	case "t":
		act("SIGTERM sent to", p.Signal(syscall.SIGTERM))
	case "f":
		act("frozen:", p.Signal(syscall.SIGSTOP))
	case "c":
		act("goes on:", p.Signal(syscall.SIGCONT))
	}
	return m, nil
}

// View implements tea.Model.
func (m *page) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	return v
}

func (m *page) lines() []string {
	bold, dim := lipgloss.NewStyle().Bold(true), lipgloss.NewStyle().Faint(true)
	lines := []string{bold.Render(m.clip("sluice cluster   " + m.hints[0])), ""}
	lines = append(lines, dim.Render(m.clip(fmt.Sprintf("  %-10s %-21s %7s %6s %7s %9s %5s  %s", "process", "address", "pid", "starts", "clients", "delivers", "feeds", "state"))))
	for i, r := range m.rows {
		mark := " "
		if i == m.at {
			mark = ">"
		}
		color := lipgloss.Green
		if !r.ok {
			color = lipgloss.Red
		}
		text := fmt.Sprintf("%s %-10s %-21s %7d %6d %7s %9s %5s  ", mark, r.name, r.addr, r.pid, r.starts, r.clients, r.deliveries, r.feeds)
		lines = append(lines, m.clip(text)+lipgloss.NewStyle().Foreground(color).Render(clip(r.state, m.width-len(text))))
	}
	if m.at < len(m.rows) {
		lines = append(lines, "", dim.Render(m.clip("log of "+m.rows[m.at].name+": "+m.t.All()[m.at].Log)), m.clip(m.rows[m.at].last))
	}
	for len(lines) < m.height-2 {
		lines = append(lines, "")
	}
	return append(lines[:max(1, min(len(lines), m.height-2))], m.clip(m.note), dim.Render(m.clip("↑↓ choose  k kill -9  t SIGTERM  f freeze  c continue  q end the cluster")))
}

func (m *page) clip(s string) string { return clip(s, m.width) }

func clip(s string, width int) string {
	r := []rune(s)
	return string(r[:min(len(r), max(0, width))])
}
