package main

import (
	"context"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"sluice/test/load"
)

// benchView is the live view: what happens now as figures, what happened in the last minutes as two moving charts. It fits
// 80×24. Bubble Tea calls it on one goroutine.
type benchView struct {
	target string
	stop   context.CancelFunc // ends the measurement
	ending bool
	width  int
	height int
	name   string
	last   load.Sample
	rates  []float64
	p99s   []float64
	ran    []string // finished runs, the newest last
}

// Messages of the measurement to the view.
type (
	benchSampled struct {
		name string
		s    load.Sample
	}
	benchRan  string
	benchDone struct{}
)

// viewKeeps is how many seconds the charts can show.
const viewKeeps = 600

func (v *benchView) Init() tea.Cmd { return nil }

func (v *benchView) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		v.width, v.height = m.Width, m.Height
	case tea.KeyPressMsg:
		if s := m.String(); s == "q" || s == "esc" || s == "ctrl+c" {
			v.ending = true
			v.stop()
		}
	case benchSampled:
		v.take(m.name, m.s)
	case benchRan:
		v.ran = append(v.ran[max(len(v.ran)-2, 0):], string(m))
	case benchDone:
		return v, tea.Quit
	}
	return v, nil
}

// take adds one second.
func (v *benchView) take(name string, s load.Sample) {
	if name != v.name {
		v.name, v.rates, v.p99s = name, nil, nil
	}
	v.last = s
	v.rates = append(v.rates[max(len(v.rates)-viewKeeps, 0):], s.Rate)
	if s.Latency.Count > 0 {
		v.p99s = append(v.p99s[max(len(v.p99s)-viewKeeps, 0):], s.Latency.P99)
	}
}

var (
	viewTitle = lipgloss.NewStyle().Bold(true)
	viewSoft  = lipgloss.NewStyle().Foreground(lipgloss.Color("8"))
	viewGood  = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	viewBad   = lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true)
	viewBar   = lipgloss.NewStyle().Foreground(lipgloss.Color("4"))
)

func (v *benchView) View() tea.View {
	width, height := max(v.width, 40), v.height
	if v.height == 0 {
		width, height = 80, 24
	}
	lines := []string{
		viewTitle.Render("sluice bench") + "  " + cutTo(v.target, width-14),
		v.progress(width), "",
	}
	lines = append(lines, v.figures()...)
	lines = append(lines, "")
	for _, r := range v.ran {
		lines = append(lines, viewSoft.Render(cutTo(r, width)))
	}
	foot := viewSoft.Render("q ends")
	if v.ending {
		foot = viewSoft.Render("ending …")
	}
	// Two charts share what is left: each has a title, its rows, and one line between them.
	if rows := (height-len(lines)-2)/2 - 2; rows >= 2 {
		lines = append(lines, viewChart("deliveries/s", v.rates, width, rows)...)
		lines = append(lines, viewChart("p99 latency, ms", v.p99s, width, rows)...)
	}
	lines = append(lines[:min(len(lines), max(height-1, 1))], foot)
	view := tea.NewView(strings.Join(lines, "\n"))
	view.AltScreen = true
	return view
}

// progress is the phase and a bar of how much of the run is over.
func (v *benchView) progress(width int) string {
	head := fmt.Sprintf("%s  %-8s %5.0f s  ", v.name, v.last.Phase, v.last.Second)
	room := max(width-lipgloss.Width(head)-5, 4)
	full := min(int(v.last.Done*float64(room)+0.5), room)
	return head + viewBar.Render(strings.Repeat("█", full)) + viewSoft.Render(strings.Repeat("░", room-full)) + fmt.Sprintf(" %3.0f%%", 100*v.last.Done)
}

// figures are the numbers of the last second.
func (v *benchView) figures() []string {
	s := v.last
	latency := "latency  no events yet"
	if s.Latency.Count > 0 {
		latency = fmt.Sprintf("latency  p50 %-9s p90 %-9s p99 %-9s max %s",
			load.Millis(s.Latency.P50), load.Millis(s.Latency.P90), load.Millis(s.Latency.P99), load.Millis(s.Latency.Max))
	}
	server := viewSoft.Render("server   --pids shows its CPU and memory")
	if s.RSS > 0 {
		server = fmt.Sprintf("server   CPU %3.0f %%   %.2f µs per delivery   memory %s", s.CPU, s.CPUPer, load.Bytes(float64(s.RSS)))
	}
	checks := viewGood.Render("0 lost, 0 doubled, 0 reordered")
	if s.Lost+s.Doubled+s.Reordered > 0 {
		checks = viewBad.Render(fmt.Sprintf("%d LOST, %d DOUBLED, %d REORDERED", s.Lost, s.Doubled, s.Reordered))
	}
	return []string{
		fmt.Sprintf("clients  %-9d published %-9d deliveries/s %-10.0f reconnects %d", s.Live, s.Published, s.Rate, s.Reconnects),
		latency, server, "checks   " + checks,
	}
}
