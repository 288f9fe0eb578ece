package orchestrator

import "sync/atomic"

// gauge counts what is alive, and the most at one moment. Safe for concurrent use.
type gauge struct{ alive, peak atomic.Int64 }

func (g *gauge) enter() {
	alive := g.alive.Add(1)
	for peak := g.peak.Load(); alive > peak && !g.peak.CompareAndSwap(peak, alive); peak = g.peak.Load() {
	}
}

func (g *gauge) leave() { g.alive.Add(-1) }

// Peak is the most alive at one moment.
func (g *gauge) Peak() int { return int(g.peak.Load()) }
