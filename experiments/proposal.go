package experiments

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"jird/orchestrator"
	"jird/orchestrator/guard"
	"jird/orchestrator/journal"
	"jird/orchestrator/promote"
	"jird/sandbox"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Rules by which a proposal of the agent's own is judged.
const (
	proposalAlpha  = 0.01
	proposalEffect = 0.05
	proposalPower  = 0.8
	proposalCases  = 60
)

// judge takes an agent's proposals one at a time: to shadows first, then, if they
// are better there, to the guard as a promotion.
type judge struct {
	lab     *Lab
	vault   *snapshots.Vault
	agent   string
	sandbox sandbox.Options

	queue  chan journal.Proposal
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	seen map[uint64]bool
}

// proposed is the guard's way to tell of proposals; it may tell of one twice.
func (j *judge) proposed() func(journal.Proposal) {
	j.queue, j.seen = make(chan journal.Proposal, 1024), map[uint64]bool{}
	return func(p journal.Proposal) {
		j.mu.Lock()
		known := j.seen[p.LSN]
		j.seen[p.LSN] = true
		j.mu.Unlock()
		if known {
			return
		}
		select {
		case j.queue <- p:
		default: // it stays in the journal, for the next guard
		}
	}
}

func (j *judge) start(ctx context.Context, g *guard.Guard) {
	ctx, j.cancel = context.WithCancel(ctx)
	j.done.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case p := <-j.queue:
				promoted, why, err := j.judge(ctx, g, p)
				if err != nil {
					why = err.Error()
				}
				if ctx.Err() != nil {
					return // the proposal stays
				}
				j.lab.Say("proposal %d of %s (%s): promoted %v: %s", p.LSN, j.agent, p.Name, promoted, why)
				if err := g.Decide(ctx, journal.Verdict{LSN: p.LSN, Promoted: promoted, Why: why}); err != nil {
					j.lab.Say("the verdict on proposal %d cannot be recorded: %v", p.LSN, err)
				}
			}
		}
	})
}

func (j *judge) stop() {
	j.cancel()
	j.done.Wait()
}

// judge says whether a proposal became live, and why or why not. An error means that
// it could not be judged.
func (j *judge) judge(ctx context.Context, g *guard.Guard, p journal.Proposal) (promoted bool, why string, err error) {
	live, err := j.vault.Ref(j.agent + "/live")
	if err != nil {
		return false, "", err
	}
	incumbent, err := j.vault.Get(live)
	if err != nil {
		return false, "", err
	}
	next, err := orchestrator.Redefine(incumbent, live, p.Name, p.Expr)
	if err != nil {
		return false, "", err
	}
	memory, err := g.Memory(ctx)
	if err != nil {
		return false, "", err
	}
	plan := promote.NewPlan(proposalAlpha, proposalEffect, proposalPower, proposalCases, j.seed(p))
	stop, reason, err := orchestrator.JudgeOpen(ctx, j.sandbox, incumbent, &next, memory, plan)
	if err != nil || stop != promote.Better {
		return false, reason, err
	}
	id, err := j.vault.Put(next)
	if err != nil {
		return false, "", err
	}
	a, err := g.Promote(ctx, guard.Promote{From: live, To: id, Kind: journal.Promotion, Reason: fmt.Sprintf("proposal %d: %s", p.LSN, reason)})
	if err != nil || a.Live() {
		return err == nil, reason, err
	}
	return false, a.Why, nil
}

// seed derives a proposal's cases: they belong to it alone.
func (j *judge) seed(p journal.Proposal) uint64 {
	text, err := sexpr.Canonical(p.Expr)
	if err != nil {
		text = nil
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "proposal/%s/%d/%s/%s", j.agent, p.LSN, p.Name, text))
	return binary.BigEndian.Uint64(sum[:8]) >> 2
}
