package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	tea "charm.land/bubbletea/v2"
)

// wantsView says that there is a person at a terminal who wants to watch: standard input and output are terminals, and no
// flag asks for something else.
func (p *benchPrinter) wantsView() bool {
	if p.f.json || p.f.jsonLines || p.f.quiet || p.f.plain {
		return false
	}
	if term, ok := p.e.lookup("TERM"); !ok || term == "" || term == "dumb" {
		return false
	}
	out, ok := p.out.(*os.File)
	return ok && isScreen(out) && isScreen(os.Stdin)
}

// isScreen tells a terminal from the null device, which is a character device as well.
func isScreen(f *os.File) bool {
	if !isTerminal(f) {
		return false
	}
	null, err := os.Stat(os.DevNull)
	if err != nil {
		return true
	}
	st, err := f.Stat()
	return err == nil && !os.SameFile(null, st)
}

// while runs the measurement, with the live view if there is a screen for it.
func (p *benchPrinter) while(ctx context.Context, work func(context.Context) error) error {
	if !p.wantsView() {
		return work(ctx)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	prog := tea.NewProgram(&benchView{target: p.f.cell.URL, name: p.f.cell.Name, stop: stop},
		tea.WithOutput(p.out), tea.WithEnvironment(p.e.environ), tea.WithoutSignalHandler())
	p.show = prog.Send
	done := make(chan error, 1)
	go func() {
		done <- work(ctx)
		prog.Send(benchDone{})
	}()
	_, err := prog.Run()
	stop() // a view that failed must not leave the measurement alone
	workErr := <-done
	p.show = nil
	if err != nil {
		err = fmt.Errorf("live view: %w", err)
	}
	return errors.Join(workErr, err)
}
