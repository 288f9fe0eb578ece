package experiments

import (
	"context"
	"fmt"
	"sync"

	"jird/orchestrator"
	"jird/orchestrator/guard"
	"jird/orchestrator/journal"
	"jird/sandbox"
	"jird/snapshots"
	"jird/snapshots/sexpr"
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
	id, err := j.vault.Put(next)
	if err != nil {
		return false, "", err
	}
	source, err := sexpr.Canonical(sexpr.List{sexpr.Symbol("define"), sexpr.Symbol(p.Name), p.Expr})
	if err != nil {
		return false, "", err
	}
	number, decided, err := j.lab.Ledger.Numbered(j.agent, string(live), string(id))
	if err != nil {
		return false, "", err
	}
	if decided != nil {
		return false, fmt.Sprintf("%v: decision %s/%d: %s", ErrJudged, j.agent, number, decided.Reason), nil
	}
	d := orchestrator.Decision{
		Run: j.agent, Number: number, Incumbent: fmt.Sprintf("%s of image %.12s", p.Name, live), Winner: string(source),
		IncumbentImage: string(live), WinnerImage: string(id), Plan: openPlan(orchestrator.CaseSeed("proposal/%s/%d/%s", j.agent, p.LSN, source)),
	}
	err = j.lab.judgeOpen(ctx, j.sandbox, &d, incumbent, &next, memory, func() (string, error) {
		a, err := g.Promote(ctx, guard.Promote{From: live, To: id, Kind: journal.Promotion, Reason: fmt.Sprintf("decision %d of %s, on proposal %d: %s", number, j.agent, p.LSN, d.Reason)})
		if err != nil || a.Live() {
			return "", err
		}
		return a.Why, nil
	})
	return d.Promoted, fmt.Sprintf("%s (decision %s/%d)", d.Reason, j.agent, number), err
}
