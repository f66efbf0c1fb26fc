package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

// watchTop shows the live table until q or the end of ctx. It owns the goroutine that looks, and waits for it.
func watchTop(ctx context.Context, e env, poll *topPoller, interval time.Duration, by topOrder) error {
	_, noColor := e.lookup("NO_COLOR")
	m := &topModel{addr: poll.addr, again: make(chan struct{}, 1), by: by, table: topTable{width: 80, plain: noColor}, height: 24}
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(os.Stdin), tea.WithOutput(e.stdout), tea.WithEnvironment(e.environ),
		tea.WithoutSignalHandler())
	looking, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); keepLooking(looking, poll, interval, m.again, p.Send) }()
	_, err := p.Run()
	stop()
	<-done
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return nil
	}
	return err
}

// keepLooking tells what it sees once per interval, and at once when asked to, until ctx ends.
func keepLooking(ctx context.Context, poll *topPoller, interval time.Duration, again <-chan struct{}, tell func(tea.Msg)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if f, err := poll.look(ctx); err != nil {
			tell(topErr{err})
		} else {
			tell(topLook(f))
		}
		select {
		case <-tick.C:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// topModel is the live table. It belongs to the program's goroutine.
type topModel struct {
	addr   string
	again  chan struct{} // asks for a look at once; capacity 1
	by     topOrder
	table  topTable
	height int
	top    int // first feed shown
	frame  topFrame
	err    error
}

type (
	topLook topFrame // a look that worked
	topErr  struct{ error }
)

// Init implements tea.Model.
func (m *topModel) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.table.width, m.height = msg.Width, msg.Height
	case topLook:
		m.err, m.frame = nil, topFrame(msg)
	case topErr:
		m.err = msg.error
	case tea.KeyPressMsg:
		return m.key(msg.String())
	}
	return m, nil
}

// key does what a key asks for.
func (m *topModel) key(key string) (tea.Model, tea.Cmd) {
	page := max(1, m.room()-1)
	switch key {
	case "q", "esc", "ctrl+c":
		return m, tea.Quit
	case "space":
		select {
		case m.again <- struct{}{}:
		default:
		}
	case "up", "k":
		m.top--
	case "down", "j":
		m.top++
	case "pgup":
		m.top -= page
	case "pgdown":
		m.top += page
	case "home":
		m.top = 0
	}
	for _, name := range topOrderNames() {
		if key == name[:1] && name != "state" || key == "t" && name == "state" {
			m.by, m.top = topOrders[name], 0
		}
	}
	return m, nil
}

// room is how many feeds fit on the screen.
func (m *topModel) room() int { return max(1, m.height-7) }

// View implements tea.Model.
func (m *topModel) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	return v
}

func (m *topModel) lines() []string {
	foot := "q quit  sort: c clients e events l lag g gaps a age n name t state"
	if m.err != nil {
		foot = m.table.style(lipgloss.Red, m.table.clip(clean(m.err.Error())))
	} else if m.frame.Node.Started.IsZero() {
		foot = "asking " + clean(m.addr) + " ..."
	}
	m.frame.sortBy(m.by)
	m.top = max(0, min(m.top, len(m.frame.Feeds)-m.room()))
	rows := m.table.rows(m.frame.Feeds[m.top:min(m.top+m.room(), len(m.frame.Feeds))])
	lines := append(m.table.head(m.frame), rows...)
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	return append(lines[:max(1, m.height-1)], m.table.clip(foot))
}
