package guard

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"jird/orchestrator/journal"
	"jird/orchestrator/supervise"
	"jird/sandbox"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Canary is how a candidate meets live traffic before it becomes live.
type Canary struct {
	Steps []Step // in order; nil: DefaultSteps; empty: no canary
	// Discard keeps a candidate's writes apart, for each caller, until it is accepted,
	// and drops them if it is not. Otherwise they are ordinary, and stay.
	Discard bool
	Slower  float64 // how many times the incumbent's median time it may take; 0: 3
}

// Step is one stage of a canary. It ends after Calls calls to the candidate, or
// after For, and then has its own check.
type Step struct {
	Share int // percent of callers, by a hash; 0: every call is mirrored, and its answer compared and dropped
	Calls int
	For   time.Duration
}

// DefaultSteps let an idle agent be promoted within half a minute, and a busy one
// as soon as 150 calls have shown no harm.
var DefaultSteps = []Step{{0, 50, 10 * time.Second}, {10, 50, 10 * time.Second}, {50, 50, 10 * time.Second}}

func (c *Canary) defaults() {
	if c.Steps == nil {
		c.Steps = DefaultSteps
	}
	if c.Slower == 0 {
		c.Slower = 3
	}
}

// String names a step in the journal.
func (s Step) String() string {
	if s.Share == 0 {
		return "mirror"
	}
	return fmt.Sprintf("split %d", s.Share)
}

// canary is the promotion under way.
type canary struct {
	Promote
	n      int
	ended  func(journal.Attempt)
	line   *supervise.Line    // nil until the candidate has started
	missed [][]sandbox.Effect // write-sets committed while it starts
	at     int                // of the steps; meaningful once since is set
	since  time.Time          // when the step began; zero before the first
	own    tally              // the candidate's calls of this step
	other  tally              // the incumbent's, since the first step
	keys   map[string]string  // discard: who wrote a key first, "" for the incumbent
	differ int                // mirrored calls answered otherwise
}

// tally is what calls of one version came to.
type tally struct {
	calls, raised int
	took          []time.Duration
}

func (t *tally) add(raised bool, took time.Duration) {
	t.calls++
	if raised {
		t.raised++
	}
	t.took = append(t.took, took)
}

func (t *tally) median() time.Duration {
	slices.Sort(t.took)
	return t.took[len(t.took)/2]
}

// step begins a step of the canary: the record first, then the traffic.
func (g *Guard) step(at int) {
	c, s := g.canary, g.cfg.Canary.Steps[at]
	g.cfg.Failpoint("canary.step")
	if err := g.appendDurably(&journal.Step{N: c.n, Name: s.String()}); err != nil {
		g.abandon(err)
		return
	}
	g.cfg.Failpoint("canary.stepped")
	c.at, c.since, c.own = at, time.Now(), tally{}
}

// route says which version serves a call, and whose canary state it sees.
func (g *Guard) route(c *pending) (line *supervise.Line, version snapshots.ID, overlay string) {
	k := g.canary
	if k == nil || k.since.IsZero() || k.line == nil {
		return g.live, g.version, ""
	}
	caller := c.Sticky
	if caller == "" {
		caller = c.ID
	}
	if caller == "" && g.cfg.Canary.Discard {
		return g.live, g.version, "" // nobody who could find again what was kept apart
	}
	if caller == "" { // each call on its own: all of them would be one caller else
		caller = fmt.Sprintf("%d calls before", g.counts.answered.Load())
	}
	h := fnv.New32a()
	fmt.Fprintf(h, "%d/%s", k.n, caller)
	if int(h.Sum32()%100) >= g.cfg.Canary.Steps[k.at].Share {
		return g.live, g.version, ""
	}
	if g.cfg.Canary.Discard {
		overlay = "caller " + caller
	}
	return k.line, k.To, overlay
}

// before is a caller's canary state as effects.
func (g *Guard) before(overlay string) []sandbox.Effect {
	if overlay == "" {
		return nil
	}
	return changes(g.state.Overlays.Of(overlay))
}

func changes(writes []journal.Write) (all []sandbox.Effect) {
	for _, w := range writes {
		if w.Value == nil {
			all = append(all, sandbox.Effect{sexpr.Symbol("memory-delete!"), w.Key})
		} else {
			all = append(all, sandbox.Effect{sexpr.Symbol("memory-set!"), w.Key, w.Value})
		}
	}
	return all
}

// observe counts a call for the step's check. What is wrong at once is returned.
func (g *Guard) observe(line *supervise.Line, a *sandbox.Answer, took time.Duration) (veto string) {
	k := g.canary
	if k == nil || k.since.IsZero() {
		return ""
	}
	if line != k.line {
		k.other.add(a.Raised, took)
		return ""
	}
	k.own.add(a.Raised, took)
	return g.broken()
}

// broken asks the candidate whether it finds itself in order.
func (g *Guard) broken() (veto string) {
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.Deadline)
	defer cancel()
	broken, err := g.canary.line.Invariant(ctx)
	switch {
	case err != nil:
		return fmt.Sprintf("vetoed: its invariant could not be checked: %v", err)
	case broken != "":
		return "vetoed: its invariant does not hold: " + broken
	}
	return ""
}

// mirror has the candidate answer a call that the incumbent has answered, before it
// learns what the incumbent wrote. Nothing of it is kept.
func (g *Guard) mirror(c *pending, line *supervise.Line, incumbent *sandbox.Answer) (veto string) {
	k := g.canary
	if k == nil || k.since.IsZero() || line != g.live || g.cfg.Canary.Steps[k.at].Share != 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Deadline)
	defer cancel()
	began := time.Now()
	answer, err := k.line.Serve(ctx, false, nil, c.Datum)
	if err != nil {
		return fmt.Sprintf("vetoed: a mirrored call ended the candidate's process: %v", err)
	}
	k.own.add(answer.Raised, time.Since(began))
	if answer.Raised && !incumbent.Raised {
		return "vetoed: it raised an exception where the incumbent answers: " + answer.Text
	}
	if !sexpr.Equal(answer.Value, incumbent.Value) {
		k.differ++
	}
	return g.broken()
}

// canaryTick ends a step whose time is up or whose calls are enough.
func (g *Guard) canaryTick() {
	k := g.canary
	if k == nil || k.since.IsZero() {
		return
	}
	s := g.cfg.Canary.Steps[k.at]
	if k.own.calls < s.Calls && time.Since(k.since) < s.For {
		return
	}
	if veto := g.check(); veto != "" {
		g.reject(veto)
	} else if k.at+1 < len(g.cfg.Canary.Steps) {
		g.step(k.at + 1)
	} else {
		g.accept()
	}
}

// Rules of a step's check. They guard against harm; that the candidate is better
// was shown before.
const (
	leastCalls  = 20                   // of each version, to compare their times
	extraErrors = 0.02                 // of its calls the candidate may raise more than the incumbent
	slack       = 2 * time.Millisecond // of noise in a median time
)

// check compares candidate and incumbent at the end of a step.
func (g *Guard) check() (veto string) {
	k := g.canary
	rate := func(t tally) float64 { return float64(t.raised) / float64(max(t.calls, 1)) }
	if own, other := rate(k.own), rate(k.other); own > other+extraErrors {
		return fmt.Sprintf("vetoed in %s: it raised an exception in %d of %d calls, the incumbent in %d of %d", g.cfg.Canary.Steps[k.at], k.own.raised, k.own.calls, k.other.raised, k.other.calls)
	}
	if k.own.calls >= leastCalls && k.other.calls >= leastCalls {
		own, other := k.own.median(), k.other.median()
		if float64(own) > g.cfg.Canary.Slower*float64(other)+float64(slack) {
			return fmt.Sprintf("vetoed in %s: its median call took %v, the incumbent's %v", g.cfg.Canary.Steps[k.at], own, other)
		}
	}
	return ""
}

// conflict says whether a write-set of somebody's canary state, or of the incumbent
// beside it, touches a key that somebody else has written since the canary began:
// then the states cannot be folded into one.
func (g *Guard) conflict(r *journal.Call) (veto string) {
	k := g.canary
	if k == nil || !g.cfg.Canary.Discard || k.since.IsZero() {
		return ""
	}
	if k.keys == nil {
		k.keys = map[string]string{}
	}
	for _, w := range r.Writes {
		key, err := sexpr.Canonical(w.Key)
		if err != nil {
			return err.Error()
		}
		owner, written := k.keys[string(key)]
		if written && owner != r.Overlay {
			return fmt.Sprintf("vetoed: two callers wrote %s, one of them through the candidate; their states cannot be made one", key)
		}
		k.keys[string(key)] = r.Overlay
	}
	return ""
}

// veto ends the promotion under way, if there is one and a reason.
func (g *Guard) veto(why ...string) {
	for _, w := range why {
		if w != "" && g.canary != nil {
			g.reject(w)
		}
	}
}
