package guard

import (
	"context"

	"jird/orchestrator/journal"
	"jird/snapshots/sexpr"
)

// proposed tells whoever judges proposals of all that wait. The judge must bear to
// be told twice.
func (g *Guard) proposed() {
	if g.cfg.Proposed == nil {
		return
	}
	for _, p := range g.state.Proposals {
		go g.cfg.Proposed(p)
	}
}

// Memory is the agent's memory at this moment.
func (g *Guard) Memory(ctx context.Context) (memory sexpr.List, err error) {
	err = g.ask(ctx, func() { memory = g.state.Memory.Datum() })
	return memory, err
}

// Decide ends a proposal with its verdict.
func (g *Guard) Decide(ctx context.Context, v journal.Verdict) error {
	var failed error
	err := g.ask(ctx, func() {
		if g.log == nil || g.readOnly != nil {
			failed = g.readOnly
		} else if failed = g.appendDurably(&v); failed != nil {
			g.reopen(failed)
		}
	})
	if err != nil {
		return err
	}
	return failed
}
