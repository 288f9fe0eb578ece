package guard

import (
	"context"
	"time"

	"jird/orchestrator/journal"
)

// Checkpointing says when a checkpoint is made: whichever comes first. Beside
// these, checkpoint! from the agent and every promotion ask for one.
type Checkpointing struct {
	Every time.Duration // since the last, if anything was written; 0: 1 min
	Bytes int64         // journaled since the last; 0: 4 MiB
}

func (c *Checkpointing) defaults() {
	if c.Every == 0 {
		c.Every = time.Minute
	}
	if c.Bytes == 0 {
		c.Bytes = 4 << 20
	}
}

// saved is what the core knows of journal and checkpoints.
type saved struct {
	recovered []uint64  // last record found at each opening of the journal
	reopened  time.Time // when it was last tried
	journaled int64     // bytes since the last checkpoint was begun
	last      time.Time // when the last was begun
	lsn       uint64    // that it holds
	wanted    bool      // the agent asks for one
	under     bool      // one is under way
	then      []func()  // to be run by the core when it is done
	err       error     // of the guard's end
}

func (g *Guard) checkpointIfDue() {
	c, s := g.cfg.Checkpoint, &g.saved
	due := s.wanted || s.journaled >= c.Bytes || (s.journaled > 0 && time.Since(s.last) >= c.Every)
	if due {
		g.checkpoint(nil)
	}
}

// checkpoint writes a checkpoint in the background, and has the core run then once
// it is there. While one is under way no other begins; then waits for that one.
func (g *Guard) checkpoint(then func()) {
	s := &g.saved
	if then != nil {
		s.then = append(s.then, then)
	}
	if s.under || g.log == nil || !g.state.CanFreeze() {
		if then != nil && !s.under {
			g.checkpointed(0)
		}
		return
	}
	s.under, s.wanted, s.journaled, s.last = true, false, 0, time.Now()
	state, frozen, image, log := g.state, g.state.Freeze(), Saved{Live: g.version, Time: time.Now()}, g.log
	go func() {
		oldest, err := g.write(log, frozen, image)
		g.post(func() {
			state.Memory.Thaw()
			if err == nil {
				g.saved.lsn = frozen.LSN
			}
			if err != nil {
				g.counts.checkpointErrors.Add(1)
				g.cfg.Say("a checkpoint failed, the journal holds everything: %v", err)
			}
			g.checkpointed(oldest)
		})
	}()
}

// checkpointed is the end of a checkpoint: the journal may forget what the oldest
// one that is kept holds, but for the last record, which shows where it ended.
func (g *Guard) checkpointed(oldest uint64) {
	s := &g.saved
	s.under = false
	if oldest > 0 && g.log != nil && g.readOnly == nil {
		g.cfg.Failpoint("checkpoint.truncate")
		if err := g.log.TruncateBefore(min(oldest+1, g.state.LSN)); err != nil {
			g.reopen(err)
		}
	}
	then := s.then
	s.then = nil
	for _, f := range then {
		f()
	}
}

// write makes a frozen state a checkpoint. What it holds must be durable in the
// journal first, or a journal that ends before it would look damaged.
func (g *Guard) write(log Journal, frozen journal.FrozenState, image Saved) (oldest uint64, err error) {
	if frozen.LSN > 0 {
		if err := log.Sync(context.Background(), frozen.LSN); err != nil {
			return 0, err
		}
	}
	image.LSN = frozen.LSN
	if image.Parts, err = frozen.Parts(); err != nil {
		return 0, err
	}
	g.cfg.Failpoint("checkpoint.write")
	oldest, err = g.cfg.Store.PutCheckpoint(image)
	g.cfg.Failpoint("checkpoint.written")
	if err == nil {
		g.counts.checkpoints.Add(1)
	}
	return oldest, err
}

// lastCheckpoint is the clean one that ends a guard. One that is under way is
// waited for.
func (g *Guard) lastCheckpoint() error {
	for g.saved.under {
		f := <-g.events
		f()
	}
	if g.log == nil || g.readOnly != nil || !g.state.CanFreeze() {
		return nil
	}
	frozen := g.state.Freeze()
	defer g.state.Memory.Thaw()
	_, err := g.write(g.log, frozen, Saved{Clean: true, Live: g.version, Time: time.Now()})
	return err
}
