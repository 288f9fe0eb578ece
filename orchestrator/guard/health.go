package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jird/orchestrator/journal"
	"jird/orchestrator/supervise"
	"jird/snapshots"
)

// mend replaces dead processes, of all versions.
func (g *Guard) mend() {
	g.mendLive()
	if g.warm != nil {
		if _, err := g.warm.Mend(context.Background()); err != nil {
			g.cfg.Say("the version before is no longer kept warm: %v", err)
			g.warm.Close()
			g.warm, g.warmID = nil, ""
		}
	}
	if c := g.canary; c != nil && c.line != nil {
		if death, err := c.line.Mend(context.Background()); death != nil || err != nil {
			g.reject(fmt.Sprintf("vetoed: the candidate's process died: %v", why(death, err)))
		}
	}
}

func (g *Guard) mendLive() {
	if g.down {
		return
	}
	death, err := g.live.Mend(context.Background())
	if death != nil {
		g.restarted(death)
	}
	switch {
	case errors.Is(err, supervise.ErrDown):
		g.cfg.Say("%v; all are started anew", err)
		g.restart()
	case errors.Is(err, supervise.ErrHopeless):
		g.hopeless(err)
	}
}

func why(d *supervise.Death, err error) error {
	if d != nil {
		return d.Why
	}
	return err
}

// restarted takes note of a death. It is no news that must reach the disk before
// anything else does.
func (g *Guard) restarted(d *supervise.Death) {
	g.counts.recovery(d.Took)
	g.publish()
	g.cfg.Say("the live process ended (%v); another serves after %v", d.Why, d.Took.Round(10*time.Microsecond))
	if g.log == nil || g.readOnly != nil {
		return
	}
	if _, err := g.append(&journal.Restart{Time: g.now(), Took: d.Took.Microseconds(), Why: d.Why.Error()}); err != nil {
		g.reopen(err)
	}
}

// died is called after a call ended a version's serving process. It says whether
// the live version was rolled back for it.
func (g *Guard) died(line *supervise.Line, version snapshots.ID, why error) (rolledBack bool) {
	if g.canary != nil && line == g.canary.line {
		g.reject(fmt.Sprintf("vetoed: the candidate's process died: %v", why))
		return true // the incumbent serves the call
	}
	again := g.probe && g.live.Barren() > 0
	g.mendLive()
	if version != g.version {
		return true
	}
	if again { // new code that has not answered one call: not the call's fault
		g.hopeless(fmt.Errorf("it ended %d processes without having answered a call since it became live", crashes))
	}
	return version != g.version
}

// hopeless goes back to the version before, instead of giving up. Where there is
// none, the processes are started again and again, ever more slowly.
func (g *Guard) hopeless(why error) {
	back := g.state.Restorable()
	if back == "" || g.readOnly != nil {
		g.cfg.Say("%v; there is nothing to go back to, trying on", why)
		g.live.Retry()
		return
	}
	if g.canary != nil {
		g.reject("the live version had to be rolled back")
	}
	g.cfg.Say("rolling back to %.12s: %v", back, why)
	line := g.warm
	if g.warmID != back {
		var err error
		if line, err = g.openLine(context.Background(), back); err != nil {
			g.cfg.Say("the version before does not start: %v", err)
			g.live.Retry()
			return
		}
	} else {
		g.warm, g.warmID = nil, ""
	}
	if err := g.swap(journal.Rollback, back, why.Error()); err != nil {
		line.Close()
		g.reopen(err)
		g.restart() // whichever is live now
		return
	}
	g.counts.rollbacks.Add(1)
	g.live.Close()
	g.live, g.probe = line, false
}

// restart starts the live version's processes anew from the state, now or, where
// that fails, with one of the next ticks.
func (g *Guard) restart() {
	for _, line := range []*supervise.Line{g.live, g.warm} {
		if line != nil {
			line.Close()
		}
	}
	g.warm, g.warmID = nil, ""
	line, err := g.openLine(context.Background(), g.version)
	g.down = err != nil
	if err != nil {
		g.cfg.Say("the live version does not start: %v", err)
		return
	}
	g.live = line
}

// stillFor is for how long a serving process may neither show a heartbeat nor end a
// call. It beats ten times a second when it has nothing to do; a collection of a large
// heap takes a second.
const stillFor = 5 * time.Second

// pulse is the last sign of life of the serving process.
type pulse struct {
	pid        int
	beat, done uint64
	seen       time.Time
}

// watchPulse replaces a serving process that is frozen while it has nothing to do:
// one that hangs in a call is found by the call's deadline.
func (g *Guard) watchPulse() {
	c, ok := g.live.Counters()
	now := pulse{g.live.PID(), c.Beat, c.Done, time.Now()}
	if !ok || now.pid != g.pulse.pid || now.beat != g.pulse.beat || now.done != g.pulse.done {
		g.pulse = now
		return
	}
	if still := time.Since(g.pulse.seen); still > stillFor {
		g.live.Replace(fmt.Errorf("it has shown no heartbeat for %v", still.Round(time.Second)))
		g.mend()
	}
}

// restlessFor and restlessShare are how long, and how much of a processor, a serving
// process may compute while nothing is asked of it. Its heartbeat takes a thousandth.
const (
	restlessFor   = 5 * time.Second
	restlessShare = 0.5
)

// idle is a moment since which nothing was asked of the serving process.
type idle struct {
	pid   int
	calls uint64
	cpu   time.Duration
	since time.Time
}

// watchCPU replaces a serving process that computes though nothing is asked of it, such
// as one in which a call left a thread that never ends.
func (g *Guard) watchCPU() {
	now := idle{g.live.PID(), g.counts.answered.Load(), g.live.CPU(), time.Now()}
	g.counts.cpu.Store(int64(now.cpu))
	if now.pid != g.idle.pid || now.calls != g.idle.calls {
		g.idle = now
		return
	}
	used, passed := now.cpu-g.idle.cpu, now.since.Sub(g.idle.since)
	if passed < restlessFor {
		return
	}
	g.idle = now
	if share := used.Seconds() / passed.Seconds(); share > restlessShare {
		g.live.Replace(fmt.Errorf("it used %.0f %% of a processor while nothing was asked of it", 100*share))
		g.mend()
	}
}

// watchMemory replaces a serving process that has grown over the limit, before the
// machine has to.
func (g *Guard) watchMemory() {
	resident := g.live.Resident()
	g.counts.resident.Store(resident)
	if g.cfg.Memory > 0 && resident > g.cfg.Memory {
		g.live.Replace(fmt.Errorf("it holds %d bytes of memory, over the limit of %d", resident, g.cfg.Memory))
		g.mend()
	}
}
