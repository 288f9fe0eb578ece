package orchestrator

import (
	"context"
	"fmt"
	"slices"

	"jird/population"
	"jird/snapshots"
)

// Again measures genomes of a recorded run once more, on the very cases that the run had.
// Its methods are called by one goroutine at a time.
type Again struct{ run *run }

// NewAgain reads the agent of a recorded run's plan.
func NewAgain(p Plan, vault *snapshots.Vault) (*Again, error) {
	r, err := newRun(p, Deps{Vault: vault}, firstDecision)
	return &Again{r}, err
}

// Evaluator is the SHA-256 of the agent's referee and of this jird's prelude: where it is
// not that of the record, scores need not be the recorded ones.
func (a *Again) Evaluator() string { return a.run.agent.Evaluator }

// Measure scores a genome on all cases of a purpose, "train" or "validate", as the run does
// where it is one of n, and returns the cases' names too.
func (a *Again) Measure(ctx context.Context, purpose string, n int, g *population.Genome) (cases []string, o population.Outcome, err error) {
	of := map[string]Cases{trainCases: a.run.Train, validateCases: a.run.Validate}[purpose]
	bench, err := a.run.open(ctx, purpose, of, a.run.Workers)
	if err != nil {
		return nil, o, err
	}
	defer bench.Close()
	o, err = bench.among(ctx, n, g)
	return bench.Cases(), o, err
}

// Decide scores a genome on each of the named cases of the run's own decision alone.
func (a *Again) Decide(ctx context.Context, names []string, g *population.Genome) ([]population.Outcome, error) {
	bench, err := a.run.open(ctx, holdoutCases, a.run.Holdout, a.run.Workers)
	if err != nil {
		return nil, err
	}
	defer bench.Close()
	cases := make([]int, len(names))
	for i, name := range names {
		if cases[i] = slices.Index(bench.Cases(), name); cases[i] < 0 {
			return nil, fmt.Errorf("case %s of the decision is not drawn again: the referee does not draw the same cases from the same seed", name)
		}
	}
	outcomes, err := bench.MeasureEach(ctx, cases, nil, g)
	if err != nil {
		return nil, err
	}
	return outcomes[0], nil
}
