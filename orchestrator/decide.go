package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand"
	"slices"

	"jird/population"
	"jird/population/ga"
	"jird/snapshots"
)

// decisionNumber counts a run's decisions; a run makes one.
const decisionNumber = 1

// finalists is how many of the best are compared on the validation cases: the
// best on the training cases alone is mostly the luckiest.
const finalists = 20

// shrinkRounds bounds the simplification of the nominee.
const shrinkRounds = 40

// nominate chooses among the best of the search by cases that it did not train
// on, and shortens the choice where no score changes.
func (r *run) nominate(ctx context.Context, train *Bench, state *ga.State) (*population.Genome, error) {
	validate, err := r.open(ctx, "validate", r.Validate, r.Workers)
	if err != nil {
		return nil, err
	}
	defer validate.close()
	var genomes []*population.Genome
	for _, m := range state.Best[:min(len(state.Best), finalists)] {
		if m.Outcome.Status == population.OK {
			genomes = append(genomes, m.Genome)
		}
	}
	if !slices.ContainsFunc(genomes, func(g *population.Genome) bool { return g.Hash() == r.agent.Incumbent.Hash() }) {
		genomes = append(genomes, r.agent.Incumbent)
	}
	outcomes, err := r.measured(ctx, validate, "validate", genomes)
	if err != nil {
		return nil, err
	}
	best := 0
	for i := range genomes {
		if population.Compare(population.Measured{Genome: genomes[i], Outcome: outcomes[i]}, population.Measured{Genome: genomes[best], Outcome: outcomes[best]}) < 0 {
			best = i
		}
	}
	return r.simplify(ctx, train, validate, genomes[best])
}

func (r *run) measured(ctx context.Context, b *Bench, purpose string, genomes []*population.Genome) ([]population.Outcome, error) {
	outcomes, err := b.Measure(ctx, genomes...)
	if err != nil {
		return nil, err
	}
	records := make([]Measurement, len(genomes))
	for i, g := range genomes {
		records[i] = Measurement{g, purpose, outcomes[i]}
	}
	return outcomes, r.Recorder.Measured(r.Record.ID, records)
}

// simplify takes the shortest proposal with the same scores on all training and
// validation cases, again and again.
func (r *run) simplify(ctx context.Context, train, validate *Bench, g *population.Genome) (*population.Genome, error) {
	if g.Hash() == r.agent.Incumbent.Hash() {
		return g, nil
	}
	for range shrinkRounds {
		wanted, err := both(ctx, train, validate, g)
		if err != nil {
			return nil, err
		}
		shorter, err := r.firstEqual(ctx, train, validate, r.Search.Grammar.Shrinks(g), wanted)
		if err != nil || shorter == nil {
			return g, err
		}
		g = shorter
	}
	return g, nil
}

func both(ctx context.Context, train, validate *Bench, g *population.Genome) ([2]population.Outcome, error) {
	a, err := train.Measure(ctx, g)
	if err != nil {
		return [2]population.Outcome{}, err
	}
	b, err := validate.Measure(ctx, g)
	if err != nil {
		return [2]population.Outcome{}, err
	}
	return [2]population.Outcome{a[0], b[0]}, nil
}

func (r *run) firstEqual(ctx context.Context, train, validate *Bench, proposals []*population.Genome, wanted [2]population.Outcome) (*population.Genome, error) {
	for batch := range slices.Chunk(proposals, 64) {
		outcomes, err := train.Measure(ctx, batch...)
		if err != nil {
			return nil, err
		}
		for i, g := range batch {
			if !slices.Equal(outcomes[i].Scores, wanted[0].Scores) {
				continue
			}
			again, err := r.measured(ctx, validate, "simplify", []*population.Genome{g})
			if err != nil {
				return nil, err
			}
			if slices.Equal(again[0].Scores, wanted[1].Scores) {
				return g, nil
			}
		}
	}
	return nil, nil
}

// decide measures nominee and incumbent on sealed cases, in pairs, from a clean
// snapshot, and promotes or refuses.
func (r *run) decide(ctx context.Context, train *Bench, nominee *population.Genome) (*Result, error) {
	pair := []*population.Genome{r.agent.Incumbent, nominee}
	trained, err := train.Measure(ctx, pair...)
	if err != nil {
		return nil, err
	}
	d := Decision{
		Run: r.Record.ID, Number: decisionNumber, Incumbent: r.agent.Incumbent, Winner: nominee,
		Alpha: r.Alpha, MaxN: r.Holdout.Count, Metric: "mean score, lower is better; one-sided sign-flip test of the paired differences",
		Seed: r.caseSeed("holdout"), IncumbentTrain: trained[0].Fitness(), WinnerTrain: trained[1].Fitness(),
	}
	if err := r.Recorder.Declare(d); err != nil {
		return nil, err
	}
	holdout, err := r.open(ctx, "holdout", r.Holdout, r.Workers)
	if err != nil {
		return nil, err
	}
	defer holdout.close()
	outcomes, err := holdout.Measure(ctx, pair...)
	if err != nil {
		return nil, err
	}
	d.IncumbentHoldout, d.WinnerHoldout = outcomes[0], outcomes[1]
	for _, name := range holdout.Cases() {
		d.Cases = append(d.Cases, Case{name, fmt.Sprintf("seed %d", d.Seed)})
	}
	r.judge(&d)
	if d.Promoted {
		if err := r.promote(&d); err != nil {
			return nil, err
		}
	}
	if err := r.Recorder.Decide(d); err != nil {
		return nil, err
	}
	return &Result{
		Incumbent: Summary{d.Incumbent.Expr(), d.IncumbentTrain, d.IncumbentHoldout.Fitness()},
		Winner:    Summary{d.Winner.Expr(), d.WinnerTrain, d.WinnerHoldout.Fitness()},
		P:         d.P, Promoted: d.Promoted, Reason: d.Reason, Snapshot: d.Snapshot,
	}, nil
}

func (r *run) judge(d *Decision) {
	d.P = 1
	switch {
	case d.Winner.Hash() == d.Incumbent.Hash():
		d.Reason = "the search found nothing better than the incumbent"
		return
	case d.IncumbentHoldout.Status != population.OK || d.WinnerHoldout.Status != population.OK:
		d.Reason = fmt.Sprintf("the holdout could not be measured: incumbent %s, winner %s", d.IncumbentHoldout.Status, d.WinnerHoldout.Status)
		return
	}
	d.P = signFlip(d.IncumbentHoldout.Scores, d.WinnerHoldout.Scores, int64(d.Seed))
	before, after := d.IncumbentHoldout.Fitness(), d.WinnerHoldout.Fitness()
	found := fmt.Sprintf("on %d unseen cases it scores %.4g, the incumbent %.4g (p = %.2g, alpha %g)", len(d.WinnerHoldout.Scores), after, before, d.P, d.Alpha)
	d.Promoted = after < before && d.P <= d.Alpha
	if d.Promoted {
		d.Reason = "better: " + found
	} else {
		d.Reason = "not shown to be better: " + found
	}
}

// signFlip is the one-sided p-value of the paired differences under random
// exchange of each pair (Fisher 1935; by simulation as Phipson and Smyth 2010,
// which never gives 0).
func signFlip(incumbent, winner []population.Score, seed int64) float64 {
	const flips = 20_000
	gains := make([]float64, len(incumbent))
	total := 0.0
	for i := range gains {
		gains[i] = incumbent[i].Value() - winner[i].Value()
		total += gains[i]
	}
	rng := rand.New(rand.NewSource(seed))
	as := 0
	for range flips {
		sum := 0.0
		for _, g := range gains {
			if rng.Int63()&1 == 0 {
				sum += g
			} else {
				sum -= g
			}
		}
		if sum >= total-1e-12*math.Abs(total) {
			as++
		}
	}
	return float64(as+1) / float64(flips+1)
}

// promote stores the new image and swaps the live ref: the swap is the commit
// point. A repetition after a crash finds it done and goes on.
func (r *run) promote(d *Decision) error {
	name, parent := r.agent.Image.Name, snapshots.ID(r.Record.Agent)
	id, err := r.Vault.Put(r.agent.promote(d.Winner, parent))
	if err != nil {
		return err
	}
	live, err := r.Vault.Ref(name + "/live")
	if err != nil {
		return err
	}
	d.Snapshot = string(id)
	if live != id {
		err = errors.Join(r.point(name+"/candidate", id), r.Vault.SwapRef(name+"/live", parent, id))
	}
	if errors.Is(err, snapshots.ErrRefMoved) {
		d.Promoted, d.Snapshot = false, ""
		d.Reason = fmt.Sprintf("refused: %v since this run began; run it again from there", err)
		return nil
	}
	if err != nil {
		return err
	}
	r.say("%s/live is now %.12s", name, id)
	return r.point(name+"/previous", parent)
}

// point moves a ref that nobody else decides on.
func (r *run) point(ref string, to snapshots.ID) error {
	now, err := r.Vault.Ref(ref)
	if err != nil && !errors.Is(err, snapshots.ErrNoRef) {
		return err
	}
	if now == to {
		return nil
	}
	return r.Vault.SwapRef(ref, now, to)
}
