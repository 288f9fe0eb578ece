package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"jird/orchestrator/journal"
	"jird/orchestrator/supervise"
	"jird/sandbox"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Request is a call.
type Request struct {
	ID       string // the caller's own; a repetition gets the first one's answer. May be empty.
	Datum    sexpr.Value
	Deadline time.Duration // 0: the guard's
	Sticky   string        // who calls: the same caller meets the same version in a canary; empty: the id
}

// Result is the answer to a call.
type Result struct {
	Reply    journal.Reply
	LSN      uint64 // of the call's record; 0 if it changed nothing and has no id
	Version  snapshots.ID
	Repeated bool // the answer was given before
}

// pending is a call that waits for the core.
type pending struct {
	Request
	body     string
	deadline time.Time
	state    atomic.Int32 // waiting, taken or abandoned
	done     chan outcome // holds one
}

type outcome struct {
	Result
	err error
}

const (
	waiting = iota
	taken
	abandoned
)

// Call carries a call out and returns once it may be relied upon. The error is one
// of this package's, or journal.ErrOtherBody.
func (g *Guard) Call(ctx context.Context, r Request) (Result, error) {
	text, err := sexpr.Canonical(r.Datum)
	if err != nil {
		return Result{}, err
	}
	if r.Deadline <= 0 {
		r.Deadline = g.cfg.Deadline
	}
	sum := sha256.Sum256(text)
	c := &pending{Request: r, body: hex.EncodeToString(sum[:]), deadline: time.Now().Add(r.Deadline), done: make(chan outcome, 1)}
	select {
	case <-g.quit:
		return Result{}, ErrClosed
	case <-ctx.Done():
		return Result{}, ctx.Err()
	default:
	}
	if g.handleAtOnce(c) {
		return g.outcome(c)
	}
	return g.queued(ctx, c)
}

// queued has the core carry a call out, unless it is given up before that begins.
func (g *Guard) queued(ctx context.Context, c *pending) (Result, error) {
	select {
	case g.calls <- c:
	default:
		g.ahead.Add(-1)
		g.counts.refused.Add(1)
		return Result{}, ErrQueueFull
	}
	late := time.NewTimer(c.Deadline)
	defer late.Stop()
	select {
	case o := <-c.done:
		return o.Result, o.err
	case <-late.C:
	case <-ctx.Done(): // the caller is gone: what has not begun need not
	case <-g.ended:
	}
	if c.state.CompareAndSwap(waiting, abandoned) {
		switch {
		case ctx.Err() != nil:
			return Result{}, ctx.Err()
		case time.Now().Before(c.deadline):
			return Result{}, ErrClosed
		}
		return Result{}, ErrDeadline
	}
	return g.outcome(c)
}

// outcome waits for a call that was begun: whoever carries it out keeps its deadline.
func (g *Guard) outcome(c *pending) (Result, error) {
	select {
	case o := <-c.done:
		return o.Result, o.err
	case <-g.ended:
	}
	select {
	case o := <-c.done:
		return o.Result, o.err
	default:
		return Result{}, ErrUnknown
	}
}

// handleAtOnce carries a call out here and now if nothing is before it: to wake the
// core, and be woken by it, takes longer than many a call. Otherwise the call counts
// among those ahead, for the queue.
func (g *Guard) handleAtOnce(c *pending) bool {
	if g.ahead.Add(1) > 1 || len(g.events) > 0 || !g.turn.TryLock() {
		return false
	}
	g.handle(c)
	g.turn.Unlock()
	g.ahead.Add(-1)
	return true
}

func (c *pending) fail(err error) { c.done <- outcome{err: err} }

// handle carries one call out.
func (g *Guard) handle(c *pending) {
	if !c.state.CompareAndSwap(waiting, taken) {
		return
	}
	reply, lsn, found, err := g.state.Calls.Find(c.ID, c.body)
	switch {
	case err != nil:
		c.fail(err)
	case found && g.log == nil: // it was read, but nothing vouches for it
		c.fail(fmt.Errorf("%w: %w", ErrUnknown, g.readOnly))
	case found:
		g.acknowledge(c, Result{reply, lsn, g.version, true}, lsn)
	default:
		g.carryOut(c)
	}
}

// crashes is how many processes a call may kill.
const crashes = 2

func (g *Guard) carryOut(c *pending) {
	killed := g.suspects[c.ID+c.body]
	for {
		line, version, overlay := g.route(c)
		ctx, cancel := context.WithDeadline(context.Background(), c.deadline)
		began := time.Now()
		answer, err := line.Serve(ctx, g.readOnly == nil && overlay == "", g.before(overlay), c.Datum)
		late := ctx.Err() != nil
		cancel()
		if err == nil {
			g.served(c, line, version, overlay, answer, time.Since(began))
			return
		}
		var failure *sandbox.Failure
		if !errors.As(err, &failure) { // not by this call: it had not begun
			if late {
				c.fail(ErrDeadline)
				return
			}
			if g.down {
				c.fail(ErrDown)
				return
			}
			g.mend()
			continue
		}
		killed++
		g.cfg.Say("a call ended the process that served it: %v", failure)
		rolledBack := g.died(line, version, failure)
		switch {
		case rolledBack: // the version was at fault, not the call
			killed = 0
		case failure.Cause == sandbox.TimedOut && killed < crashes:
			g.suspect(c)
			c.fail(ErrDeadline)
			return
		case killed >= crashes:
			g.poison(c)
			return
		}
	}
}

// suspect remembers a call that hung a process, so that repeating it can do so
// once more at most.
func (g *Guard) suspect(c *pending) {
	if c.ID == "" {
		return
	}
	if len(g.suspects) > g.cfg.Queue {
		clear(g.suspects) // a hint only
	}
	g.suspects[c.ID+c.body]++
}

// poison ends a call that killed the agent twice: its failure is its answer for
// good, so that it cannot kill a third time.
func (g *Guard) poison(c *pending) {
	delete(g.suspects, c.ID+c.body)
	g.counts.poisoned.Add(1)
	g.keep(c, nil, g.version, &journal.Call{
		ID: c.ID, Body: c.body, Time: g.now(), Reply: journal.Reply{Status: journal.Failed, Text: "killed the agent twice"},
	}, nil, nil)
}

// served takes an answer in.
func (g *Guard) served(c *pending, line *supervise.Line, version snapshots.ID, overlay string, answer *sandbox.Answer, took time.Duration) {
	g.counts.served(took, answer.Raised)
	defer func(began time.Time) { g.counts.kept(took + time.Since(began)) }(time.Now())
	if line == g.live {
		g.probe = false
	}
	record, memory := g.record(c, overlay, answer)
	defer g.veto(g.observe(line, answer, took), g.conflict(record)) // once the call is kept
	nothing := len(record.Writes)+len(record.Proposals) == 0
	switch {
	case g.readOnly != nil && nothing: // it cannot be remembered, and what it saw is on the disk
		g.acknowledge(c, Result{record.Reply, 0, version, false}, 0)
		return
	case g.readOnly != nil:
		c.fail(g.refusal())
		return
	case c.ID == "" && nothing:
		g.acknowledge(c, Result{record.Reply, 0, version, false}, g.shown)
		g.veto(g.mirror(c, line, answer))
		return
	}
	g.keep(c, line, version, record, memory, answer)
}

// record is what the journal says of a call; memory are the effects that change
// memory.
func (g *Guard) record(c *pending, overlay string, a *sandbox.Answer) (r *journal.Call, memory []sandbox.Effect) {
	r = &journal.Call{ID: c.ID, Body: c.body, Time: g.now(), Reply: journal.Reply{Status: journal.OK, Value: a.Value}, Overlay: overlay}
	if a.Raised {
		r.Reply = journal.Reply{Status: journal.Raised, Text: a.Text}
	}
	for _, e := range a.Effects {
		switch e[0] {
		case sexpr.Symbol("memory-set!"):
			r.Writes, memory = append(r.Writes, journal.Write{Key: e[1], Value: e[2]}), append(memory, e)
		case sexpr.Symbol("memory-delete!"):
			r.Writes, memory = append(r.Writes, journal.Write{Key: e[1]}), append(memory, e)
		case sexpr.Symbol("propose!"):
			if name, ok := e[1].(sexpr.Symbol); ok {
				r.Proposals = append(r.Proposals, journal.Proposal{Name: string(name), Expr: e[2]})
			}
		case sexpr.Symbol("checkpoint!"):
			g.saved.wanted = true
		}
	}
	return r, memory
}

// keep writes a call's record, gives its write-set to the other processes, and has
// the caller told when it may be.
func (g *Guard) keep(c *pending, line *supervise.Line, version snapshots.ID, r *journal.Call, memory []sandbox.Effect, a *sandbox.Answer) {
	g.cfg.Failpoint("call.append")
	if mutant == tellsFirst {
		c.done <- outcome{Result: Result{Reply: r.Reply, Version: version}}
	}
	lsn, err := g.append(r)
	if err != nil {
		if line != nil {
			line.Replace(errors.New("it holds a write-set that could not be journaled"))
			g.mend()
		}
		g.reopen(err)
		if g.readOnly != nil {
			err = g.refusal()
		} else {
			err = fmt.Errorf("%w: %w", ErrNotKept, err)
		}
		// It may have reached the disk all the same; then it was carried out.
		reply, lsn, found, findErr := g.state.Calls.Find(c.ID, c.body)
		switch {
		case !found || findErr != nil:
			c.fail(err)
		case g.log == nil:
			c.fail(fmt.Errorf("%w: %w", ErrUnknown, g.readOnly))
		default:
			g.acknowledge(c, Result{reply, lsn, version, false}, lsn)
		}
		return
	}
	g.cfg.Failpoint("call.acknowledge")
	if mutant != tellsFirst {
		g.acknowledge(c, Result{r.Reply, lsn, version, false}, lsn)
	}
	if a != nil {
		g.veto(g.mirror(c, line, a)) // before the candidate learns of the write-set
	}
	if len(memory) > 0 && r.Overlay == "" {
		if err := g.committed(memory, line); err != nil {
			g.cfg.Say("a write-set cannot be passed on: %v", err)
		}
	}
	if len(r.Proposals) > 0 {
		g.proposed()
	}
	g.checkpointIfDue()
}

// committed tells every process of a write-set; line's serving process made it.
func (g *Guard) committed(memory []sandbox.Effect, line *supervise.Line) (err error) {
	for _, l := range g.lines() {
		err = errors.Join(err, l.Committed(memory, l == line))
	}
	if k := g.canary; k != nil && k.line == nil {
		k.missed = append(k.missed, memory)
	}
	g.rebaseIfDue()
	return err
}

func (g *Guard) lines() (all []*supervise.Line) {
	for _, l := range []*supervise.Line{g.live, g.warm} {
		if l != nil {
			all = append(all, l)
		}
	}
	if g.canary != nil && g.canary.line != nil {
		all = append(all, g.canary.line)
	}
	return all
}

// rebasePause is how long after one that failed another zygote is tried.
const rebasePause = 2 * time.Second

// rebaseIfDue makes a new zygote for the live version where the one that is there is gone
// or lags far behind.
func (g *Guard) rebaseIfDue() {
	if g.down || !g.live.Heavy() || time.Since(g.rebaseFailed) < rebasePause {
		return
	}
	line := g.live
	line.Rebase(g.state.Memory.Datum(), func() {
		g.post(func() {
			if err := line.Rebased(); err != nil && line == g.live {
				g.rebaseFailed = time.Now()
				g.cfg.Say("a new zygote could not be made, trying on: %v", err)
			}
		})
	})
}

// ack is a call whose record may not be durable yet.
type ack struct {
	c      *pending
	result Result
	lsn    uint64
	log    Journal
	epoch  int
}

// acknowledge has a caller told as soon as the journal vouches for a record, after
// those of the records before.
func (g *Guard) acknowledge(c *pending, r Result, lsn uint64) {
	if g.untold.Load() == 0 && (lsn == 0 || g.log.Acknowledged(lsn)) {
		c.done <- outcome{Result: r}
		return
	}
	g.untold.Add(1)
	g.acks <- ack{c, r, lsn, g.log, g.epoch}
}

// tell tells callers in the order of their records.
func (g *Guard) tell() {
	defer close(g.told)
	var doubts sync.WaitGroup
	defer doubts.Wait()
	for a := range g.acks {
		var err error
		if a.lsn > 0 && mutant != tellsUnsynced {
			err = a.log.Wait(context.Background(), a.lsn)
		}
		if err != nil {
			doubts.Go(func() { g.post(func() { g.doubted(a, err) }) })
		} else {
			a.c.done <- outcome{Result: a.result}
		}
		g.untold.Add(-1)
	}
}

// doubted is called for a record that the journal would not vouch for: opening it
// anew shows whether the record is there.
func (g *Guard) doubted(a ack, err error) {
	if a.epoch == g.epoch {
		g.reopen(err)
	}
	switch {
	case a.epoch+1 >= len(g.saved.recovered): // it could not be opened yet
		a.c.fail(fmt.Errorf("%w: %w", ErrUnknown, err))
	case a.lsn <= g.saved.recovered[a.epoch+1]:
		a.c.done <- outcome{Result: a.result}
	default:
		a.c.fail(fmt.Errorf("%w: %w", ErrNotKept, err))
	}
}
