package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"jird/orchestrator/promote"
	"jird/population"
	"jird/population/ga"
	"jird/snapshots"
)

// firstDecision is the number of the decision that a run makes itself.
const firstDecision = 1

// finalists is how many of the best are compared on the validation cases: the
// best on the training cases alone is mostly the luckiest.
const finalists = 100

// shrinkRounds bounds the simplification of the nominee.
const shrinkRounds = 40

// nominate chooses among the best of the search by cases that it did not train
// on, and shortens the choice where no score changes.
func (r *run) nominate(ctx context.Context, train *Bench, state *ga.State) (*population.Genome, error) {
	validate, err := r.open(ctx, validateCases, r.Validate, r.Workers)
	if err != nil {
		return nil, err
	}
	defer validate.Close()
	var genomes []*population.Genome
	for _, m := range state.Best[:min(len(state.Best), finalists)] {
		if m.Outcome.Status == population.OK {
			genomes = append(genomes, m.Genome)
		}
	}
	if !slices.ContainsFunc(genomes, func(g *population.Genome) bool { return g.Hash() == r.agent.Incumbent.Hash() }) {
		genomes = append(genomes, r.agent.Incumbent)
	}
	outcomes, err := r.measured(ctx, validate, validateCases, genomes)
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
// snapshot, until the evidence suffices or runs out, and promotes or refuses. What
// would go live is image, or if that is empty the incumbent's with the nominee in it.
func (r *run) decide(ctx context.Context, train *Bench, nominee *population.Genome, image snapshots.ID) (*Result, error) {
	trained, err := train.Measure(ctx, r.agent.Incumbent, nominee)
	if err != nil {
		return nil, err
	}
	holdout, err := r.open(ctx, holdoutCases, r.Holdout, r.Workers)
	if err != nil {
		return nil, err
	}
	defer holdout.Close()
	d := Decision{
		Run: r.Record.ID, Number: r.number, Incumbent: r.agent.Incumbent.Source(), Winner: nominee.Source(),
		IncumbentImage: r.Record.Agent, WinnerImage: string(image), Evaluator: r.agent.Evaluator,
		Plan:           promote.NewPlan(r.Alpha, r.Effect, r.Power, min(r.Holdout.Count, len(holdout.Cases())), r.caseSeed("holdout")),
		Guardrails:     []promote.Guardrail{promote.Failures(), promote.Steps(r.Fuel)},
		IncumbentTrain: trained[0].Fitness(), WinnerTrain: trained[1].Fitness(),
	}
	if image == "" {
		if d.WinnerImage, err = r.imageOf(nominee); err != nil {
			return nil, err
		}
	}
	if err := r.judge(ctx, holdout, &d, nominee); err != nil {
		return nil, err
	}
	if d.Stop == promote.Better {
		if err := r.promote(ctx, &d); err != nil {
			return nil, err
		}
	}
	if err := r.Recorder.Decide(d); err != nil {
		return nil, err
	}
	last := d.Looks[len(d.Looks)-1]
	return &Result{
		Incumbent: Summary{r.agent.Incumbent.Expr(), d.IncumbentTrain, last.Incumbent},
		Winner:    Summary{nominee.Expr(), d.WinnerTrain, last.Winner},
		P:         last.P, Cases: last.N, Verdict: d.Stop, Promoted: d.Promoted, Reason: d.Reason, Snapshot: d.Snapshot,
	}, nil
}

// imageOf stores the incumbent's image with the nominee in it.
func (r *run) imageOf(nominee *population.Genome) (string, error) {
	if nominee.Hash() == r.agent.Incumbent.Hash() {
		return r.Record.Agent, nil
	}
	id, err := r.Vault.Put(r.agent.With(nominee, snapshots.ID(r.Record.Agent)))
	return string(id), err
}

// judge declares the decision, compares, and has a winner confirmed.
func (r *run) judge(ctx context.Context, holdout *Bench, d *Decision, nominee *population.Genome) error {
	if err := r.Recorder.Declare(*d); err != nil {
		return err
	}
	order := caseOrder(d.Plan, len(holdout.Cases()))
	if err := d.compare(inPairs(ctx, holdout, d.Plan, order, r.agent.Incumbent, nominee)); err != nil {
		return err
	}
	if d.Stop == promote.Better {
		return r.confirm(ctx, d, order)
	}
	return nil
}

// caseOrder is in which order cases are measured: a referee may have sorted them.
func caseOrder(p promote.Plan, cases int) []int {
	return rand.New(rand.NewPCG(p.Seed, caseStream)).Perm(cases)[:p.MaxN()]
}

// Streams of a decision's seed. Its test draws from stream 0.
const (
	caseStream = 1 + iota // the order of the cases
	pairStream            // which of a pair comes first
)

// inPairs gives a way to observe two policies on some more of the ordered cases.
func inPairs(ctx context.Context, holdout *Bench, p promote.Plan, order []int, incumbent, winner *population.Genome) func(from, to int) ([]promote.Observation, error) {
	first := rand.New(rand.NewPCG(p.Seed, pairStream))
	return func(from, to int) (more []promote.Observation, err error) {
		outcomes, err := holdout.MeasureEach(ctx, order[from:to], first, incumbent, winner)
		if err != nil {
			return nil, err
		}
		for i, c := range order[from:to] {
			more = append(more, promote.Observation{Case: holdout.Cases()[c], Incumbent: outcomes[0][i], Winner: outcomes[1][i]})
		}
		return more, nil
	}
}

// compare has pairs observed up to each look, until one ends the comparison. Fewer may
// be observed where they hold a veto.
func (d *Decision) compare(observe func(from, to int) ([]promote.Observation, error)) error {
	test := promote.NewTest(d.Plan)
	for _, n := range d.Plan.Looks {
		more, err := observe(len(d.Observations), n)
		if err != nil {
			return err
		}
		d.Observations = append(d.Observations, more...)
		look := test.Look(promote.Pairs(d.Observations), len(d.Observations))
		veto := promote.Veto(d.Guardrails, d.Observations)
		switch {
		case d.Winner == d.Incumbent:
			look.Stop = promote.Same
		case veto != "":
			look.Stop = promote.Vetoed
		}
		d.Looks = append(d.Looks, look)
		if d.Stop = look.Stop; d.Stop != promote.Going {
			d.Reason = d.Plan.Reason(look)
			if d.Stop == promote.Vetoed {
				d.Reason = "vetoed: " + veto
			}
			return nil
		}
	}
	return errors.New("the last look did not end the comparison")
}

// confirm measures the winner again on the same cases, as it stands in the image
// that would go live, read back from the vault: it must score what the winner
// scored.
func (r *run) confirm(ctx context.Context, d *Decision, order []int) error {
	image, err := r.Vault.Get(snapshots.ID(d.WinnerImage))
	if err != nil {
		return err
	}
	agent, err := ReadAgent(image, r.Search.Grammar, r.Evolved)
	if err != nil {
		return err
	}
	bench, err := OpenBench(ctx, agent, r.Search.Grammar, r.Sandbox, r.Fuel, r.Workers, r.Workers, r.recipe(holdoutCases, r.Holdout))
	if err != nil {
		return err
	}
	defer bench.Close()
	again, err := bench.MeasureEach(ctx, order[:len(d.Observations)], nil, agent.Incumbent)
	if err != nil {
		return err
	}
	for i, o := range d.Observations {
		if a := again[0][i]; a.Status != o.Winner.Status || !slices.Equal(a.Scores, o.Winner.Scores) {
			d.Stop = promote.Vetoed
			d.Reason = fmt.Sprintf("vetoed: image: on case %s the image %.12s scores otherwise than the winner that it was made from", o.Case, d.WinnerImage)
			return nil
		}
	}
	return nil
}

// promote hands the winner to whoever guards the agent.
func (r *run) promote(ctx context.Context, d *Decision) error {
	if err := r.handOver(ctx, d, r.agent.Image.Name, fmt.Sprintf("decision %d of run %s: %s", d.Number, d.Run, d.Reason)); err != nil {
		return err
	}
	if d.Promoted {
		r.say("%s/live is now %.12s", r.agent.Image.Name, d.WinnerImage)
	}
	return nil
}

// handOver has the winner's image made live in place of the incumbent's, or says in the
// decision why that was refused. A repetition after a crash finds it done and goes on.
func (deps Deps) handOver(ctx context.Context, d *Decision, name, reason string) error {
	id := snapshots.ID(d.WinnerImage)
	live, err := deps.Vault.Ref(name + "/live")
	if err != nil {
		return err
	}
	refused := ""
	if live != id {
		if err := deps.Vault.ResetRef(name+"/candidate", id); err != nil {
			return err
		}
		if refused, err = deps.Promote(ctx, name, snapshots.ID(d.IncumbentImage), id, reason); err != nil {
			return err
		}
	}
	if refused != "" {
		d.Stop, d.Reason = promote.Lost, "refused: "+refused
		return nil
	}
	d.Promoted, d.Snapshot = true, d.WinnerImage
	return nil
}
