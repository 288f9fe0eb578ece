package guard

import (
	"context"
	"errors"
	"fmt"

	"jird/orchestrator/journal"
	"jird/orchestrator/supervise"
	"jird/sandbox"
	"jird/snapshots"
)

// A promotion is a state machine in the journal. Each arrow is written before what
// follows it is done:
//
//	begin -> the candidate starts -> step (mirror, split ...) -> accept
//	      -> the live ref is swapped: the commit point -> traffic moves -> done
//	      \-> reject, from anywhere before accept
//
// A guard that starts and finds one half-way ends it (settle): without accept it is
// rejected; with accept and the ref unmoved, the swap is made; with the ref moved,
// only done is missing. So at every moment exactly one version is live: the one
// that the ref names.

// Promote asks for another version to become live.
type Promote struct {
	From   snapshots.ID // what must be live, or empty
	To     snapshots.ID
	Kind   journal.Kind
	Reason string // for people; names the evidence
}

// ErrBusy says that a promotion is under way.
var ErrBusy = errors.New("a promotion is under way; see jird status")

// Promote carries a promotion out and returns how it ended. Cancelling ctx ends the
// waiting, not the promotion.
func (g *Guard) Promote(ctx context.Context, p Promote) (journal.Attempt, error) {
	ended := make(chan journal.Attempt, 1)
	var refused error
	if err := g.ask(ctx, func() {
		refused = g.begin(p, func(a journal.Attempt) { ended <- a })
	}); err != nil {
		return journal.Attempt{}, err
	}
	if refused != nil {
		return journal.Attempt{}, refused
	}
	select {
	case a := <-ended:
		return a, nil
	case <-ctx.Done():
		return journal.Attempt{}, ctx.Err()
	case <-g.ended:
	}
	select {
	case a := <-ended:
		return a, nil
	default:
		return journal.Attempt{}, ErrClosed
	}
}

// Rollback makes a version live that was live before: to, or, if that is empty,
// the one before the last promotion. It needs no evidence.
func (g *Guard) Rollback(ctx context.Context, to snapshots.ID, reason string) (journal.Attempt, error) {
	if to == "" {
		if err := g.ask(ctx, func() { to = g.state.Restorable() }); err != nil {
			return journal.Attempt{}, err
		}
		if to == "" {
			return journal.Attempt{}, fmt.Errorf("%w: %s has none before the live one", ErrNoVersion, g.cfg.Agent)
		}
	}
	return g.Promote(ctx, Promote{To: to, Kind: journal.Rollback, Reason: reason})
}

// begin checks what can be checked at once, then goes on in the background.
func (g *Guard) begin(p Promote, ended func(journal.Attempt)) error {
	switch {
	case g.canary != nil:
		return ErrBusy
	case g.readOnly != nil:
		return g.readOnly
	case p.From != "" && p.From != g.version:
		return fmt.Errorf("%w: %.12s is live, not %.12s", snapshots.ErrRefMoved, g.version, p.From)
	case p.To == g.version:
		return fmt.Errorf("%w: %.12s is live already", ErrNoVersion, p.To)
	}
	if _, err := g.cfg.Code(p.To); err != nil {
		return err
	}
	c := &canary{Promote: p, n: g.state.NextAttempt(), ended: ended}
	g.canary = c
	g.checkpoint(func() { g.begun(c) })
	return nil
}

// begun writes the first record and starts the candidate.
func (g *Guard) begun(c *canary) {
	if g.canary != c { // it was rejected meanwhile
		return
	}
	g.cfg.Failpoint("promotion.begin")
	if err := g.appendDurably(&journal.Begin{N: c.n, Kind: c.Kind, From: g.version, To: c.To, Reason: c.Reason, Time: g.now()}); err != nil {
		g.canary = nil
		g.reopen(err)
		c.ended(journal.Attempt{Begin: journal.Begin{N: c.n, To: c.To}, Why: err.Error()})
		return
	}
	g.cfg.Failpoint("promotion.begun")
	if g.warm != nil && g.warmID == c.To {
		c.line, g.warm, g.warmID = g.warm, nil, ""
		g.candidateReady()
		return
	}
	g.openCandidate(c)
}

// openCandidate starts the candidate's processes beside the live ones. What is
// committed meanwhile is given to them afterwards.
func (g *Guard) openCandidate(c *canary) {
	memory, sets := g.state.Memory.Datum(), g.state.Sets
	c.missed = [][]sandbox.Effect{}
	go func() {
		var line *supervise.Line
		image, err := g.cfg.Code(c.To)
		if err == nil {
			line, err = supervise.Open(context.Background(), g.cfg.Line, image, memory, sets, func() { g.post(g.mend) })
		}
		g.post(func() { g.candidateOpened(c, line, err) })
	}()
}

func (g *Guard) candidateOpened(c *canary, line *supervise.Line, err error) {
	if g.canary != c { // it was rejected meanwhile
		if line != nil {
			line.Close()
		}
		return
	}
	if err != nil {
		g.reject(fmt.Sprintf("the candidate does not start: %v", err))
		return
	}
	c.line = line
	for _, effects := range c.missed {
		if err := line.Committed(effects, false); err != nil {
			g.reject(err.Error())
			return
		}
	}
	c.missed = nil
	g.candidateReady()
}

// candidateReady goes to the canary, or straight to the swap where somebody's word
// stands for the evidence.
func (g *Guard) candidateReady() {
	c := g.canary
	if c.Kind == journal.Promotion && len(g.cfg.Canary.Steps) > 0 {
		g.step(0)
		return
	}
	g.accept()
}

// accept makes the candidate live. After the record only success is possible, or a
// crash from which settle goes on.
func (g *Guard) accept() {
	c := g.canary
	g.cfg.Failpoint("promotion.accept")
	if err := g.appendDurably(&journal.Accept{N: c.n}); err != nil {
		g.abandon(err)
		return
	}
	g.cfg.Failpoint("promotion.accepted")
	if err := MoveLive(g.cfg.Vault, g.cfg.Agent, g.version, c.To); err != nil {
		g.abandon(err)
		return
	}
	g.cfg.Failpoint("promotion.swapped")
	from := g.version
	if g.warm != nil {
		g.warm.Close()
	}
	g.live, g.warm, g.warmID, g.version = c.line, g.live, from, c.To
	g.probe = true
	overlays := g.state.Overlays
	if err := g.appendDurably(&journal.Done{N: c.n}); err != nil {
		c.line = nil
		g.abandon(err)
		return
	}
	g.cfg.Failpoint("promotion.done")
	g.canary = nil
	g.fold(overlays)
	g.cfg.Say("%s/live is now %.12s (%s: %s)", g.cfg.Agent, c.To, c.Kind, c.Reason)
	c.ended(g.attempt(c.n))
}

// fold gives all processes the canary state that has become the agent's.
func (g *Guard) fold(o journal.Overlays) {
	for _, writes := range o.All() {
		if err := g.committed(changes(writes), nil); err != nil {
			g.cfg.Say("canary state cannot be passed on: %v", err)
		}
	}
}

func (g *Guard) attempt(n int) journal.Attempt {
	for _, a := range g.state.Promotions {
		if a.N == n {
			return a
		}
	}
	return journal.Attempt{}
}

// MoveLive swaps an agent's live ref, the commit point, and remembers what was live.
// Only the holder of the agent's lock may call it.
func MoveLive(v *snapshots.Vault, agent string, from, to snapshots.ID) error {
	if mutant == swapsNothing {
		return nil
	}
	if err := v.SwapRef(agent+"/live", from, to); err != nil {
		return err
	}
	return v.ResetRef(agent+"/previous", from)
}

// reject ends a promotion with the incumbent live.
func (g *Guard) reject(why string) {
	c := g.canary
	g.canary = nil
	g.cfg.Say("promotion %d of %.12s is rejected: %s", c.n, c.To, why)
	if c.line != nil {
		c.line.Close()
	}
	g.cfg.Failpoint("promotion.reject")
	attempt := journal.Attempt{Begin: journal.Begin{N: c.n, To: c.To, From: g.version}, Ended: true, Why: why}
	if g.state.Attempt() != nil {
		if err := g.appendDurably(&journal.Reject{N: c.n, Why: why}); err != nil {
			g.reopen(err)
		} else {
			attempt = g.attempt(c.n)
		}
	}
	c.ended(attempt)
}

// abandon is for a journal or a ref that failed in the midst of a promotion: what
// is on disk decides, as after a crash.
func (g *Guard) abandon(err error) {
	c := g.canary
	g.canary = nil
	if c.line != nil {
		c.line.Close()
	}
	g.reopen(err)
	a := g.attempt(c.n)
	if !a.Ended {
		a.Why = "it could not be ended yet: " + err.Error()
	}
	c.ended(a)
}

// settle ends a promotion that a crash left half-way.
func (g *Guard) settle() error {
	a := g.state.Attempt()
	if a == nil {
		return nil
	}
	n, to := a.N, a.To
	live, err := g.cfg.Vault.Ref(g.cfg.Agent + "/live")
	if err != nil {
		return err
	}
	g.version = live
	if !a.Accepted {
		g.cfg.Say("promotion %d had not been accepted when the guard ended: it is rejected", n)
		return g.appendDurably(&journal.Reject{N: n, Why: "the guard ended before it was accepted"})
	}
	if g.version == a.From {
		if err := MoveLive(g.cfg.Vault, g.cfg.Agent, a.From, to); err != nil {
			return err
		}
		g.version = to
	}
	if g.version != to {
		return fmt.Errorf("promotion %d goes from %.12s to %.12s, but %.12s is live: somebody changed the ref; put it back with `jird rollback`", n, a.From, to, g.version)
	}
	if err := g.cfg.Vault.ResetRef(g.cfg.Agent+"/previous", a.From); err != nil {
		return err
	}
	g.probe = true
	return g.appendDurably(&journal.Done{N: n})
}

// swap makes a version live of which the processes run already, without a canary.
func (g *Guard) swap(kind journal.Kind, to snapshots.ID, reason string) error {
	n := g.state.NextAttempt()
	for _, r := range []journal.Record{&journal.Begin{N: n, Kind: kind, From: g.version, To: to, Reason: reason, Time: g.now()}, &journal.Accept{N: n}} {
		if err := g.appendDurably(r); err != nil {
			return err
		}
	}
	g.cfg.Failpoint("rollback.accepted")
	if err := MoveLive(g.cfg.Vault, g.cfg.Agent, g.version, to); err != nil {
		return err
	}
	g.version = to
	g.cfg.Failpoint("rollback.swapped")
	return g.appendDurably(&journal.Done{N: n})
}
