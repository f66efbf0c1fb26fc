package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/guptarohit/asciigraph"
)

// viewChart is a title and rows lines of a moving chart.
func viewChart(title string, values []float64, width, rows int) []string {
	out := []string{viewSoft.Render(title)}
	room := max(width-10, 10)
	if len(values) < 2 {
		return append(out, make([]string, rows+1)...)
	}
	values = values[max(len(values)-room, 0):]
	text := asciigraph.Plot(values, asciigraph.Height(rows-1), asciigraph.LowerBound(0), asciigraph.YAxisValueFormatter(func(f float64) string {
		return fmt.Sprintf("%7s", shortNumber(f))
	}))
	for line := range strings.SplitSeq(text, "\n") {
		out = append(out, cutTo(line, width))
	}
	for len(out) < rows+2 {
		out = append(out, "")
	}
	return out[:rows+2]
}

// cutTo cuts s to so many characters.
func cutTo(s string, n int) string {
	if n = max(n, 1); utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// shortNumber shows a number in at most six characters.
func shortNumber(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.1fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}
