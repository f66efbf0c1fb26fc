package main

import (
	"sluice/internal/obs"
	"sluice/internal/version"
)

// buildTraces begins to export spans, if the environment asks for it.
func (p *process) buildTraces(e env) error {
	c, err := obs.ReadTraceEnv(e.lookup)
	if err != nil {
		return withCode(exitInvalid, err)
	}
	p.traces = obs.NewTraces(c, obs.TraceDeps{Node: nodeName(p.cfg), Version: version.Read().Version, Log: p.log, Registerer: p.reg})
	if p.traces != nil {
		p.stopTraces = p.group.start("traces", p.traces.Run)
	}
	return nil
}
