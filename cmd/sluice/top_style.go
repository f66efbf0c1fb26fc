package main

import (
	"image/color"

	"charm.land/lipgloss/v2"
)

func (t topTable) style(c color.Color, s string) string {
	if t.plain {
		return s
	}
	return lipgloss.NewStyle().Foreground(c).Render(s)
}

func (t topTable) bold(s string) string {
	if t.plain {
		return s
	}
	return lipgloss.NewStyle().Bold(true).Render(s)
}

func stateColor(state string) color.Color {
	return []color.Color{lipgloss.Red, lipgloss.Yellow, lipgloss.Green}[stateRank(state)]
}
