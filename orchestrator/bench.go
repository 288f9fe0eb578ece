package orchestrator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sync/errgroup"

	"jird/population"
	"jird/sandbox"
)

// Executor scores units of work, on this machine or on others. What it answers depends on
// the genomes and the cases alone. Safe for concurrent use.
type Executor interface {
	// Score scores genomes on the cases from, up to to without it: an outcome for each. A
	// candidate that fails is an outcome; a failing referee gives a *RefereeError.
	Score(ctx context.Context, genomes []*population.Genome, from, to int) ([]population.Outcome, error)
	// Cases are the names of the cases, in the order of the scores.
	Cases() []string
	// Parallel is how many units are worth asking for at once.
	Parallel() int
	// Peak is the most processes of this machine that were alive at one moment, of which
	// each had scored.
	Peak() int
	// Close ends its processes. No scoring may be under way.
	Close()
}

// Bench is an executor with cases of one purpose. It cuts what is to be measured into
// units. Safe for concurrent use.
type Bench struct {
	Executor
	tokens  chan struct{} // one for each unit at once
	cascade Cascade
}

// Cascade measures genomes on the first cases alone, and goes on with those only that do
// well enough there. The zero value does not.
type Cascade struct {
	Cases  int     // how many come first
	AtMost float64 // the highest mean of them, lower being better, to go on with
}

// NewBench makes a bench of an executor, which it closes.
func NewBench(x Executor, c Cascade) *Bench {
	return &Bench{Executor: x, tokens: make(chan struct{}, max(1, x.Parallel())), cascade: c}
}

// OpenBench starts the processes that score genomes of an agent on the cases that the
// caller puts into the image. See OpenExecutor.
func OpenBench(ctx context.Context, a *Agent, grammar *population.Grammar, o sandbox.Options, fuel int64, shadows, workers int, cases func(*sandbox.Image)) (*Bench, error) {
	x, err := OpenExecutor(ctx, a, grammar, o, fuel, shadows, workers, cases)
	if err != nil {
		return nil, err
	}
	return NewBench(x, Cascade{}), nil
}

// OpenExecutor starts the processes that score genomes on this machine: a pool of shadows
// with the referee in them, or, where genomes are open code, a referee apart from them.
func OpenExecutor(ctx context.Context, a *Agent, grammar *population.Grammar, o sandbox.Options, fuel int64, shadows, workers int, cases func(*sandbox.Image)) (Executor, error) {
	if grammar.Open {
		return openRecitals(ctx, a, o, workers, cases)
	}
	im, err := a.image(grammar)
	if err != nil {
		return nil, err
	}
	cases(&im)
	return OpenPool(ctx, im, grammar, o, fuel, shadows, workers)
}

// unit is one piece of work for an executor: some genomes on a range of cases.
type unit struct {
	genomes  []int // indices
	from, to int
}

const (
	// maxBatch bounds the genomes of one unit, so that a failure inside it costs few
	// repetitions and a slow one does not idle the other workers.
	maxBatch = 8
	// casesPerUnit cuts the measurement of a few genomes on many cases.
	casesPerUnit = 5
)

// units cuts the work by its own shape only: neither shadows nor workers may
// have a say, or they could change how much fuel a referee's memory saves.
func units(genomes, cases int) []unit {
	var all []unit
	if genomes <= 2*maxBatch {
		for i := range genomes {
			all = append(all, single(i, 0, cases)...)
		}
		return all
	}
	for i := 0; i < genomes; i += maxBatch {
		var batch []int
		for k := i; k < min(i+maxBatch, genomes); k++ {
			batch = append(batch, k)
		}
		all = append(all, unit{batch, 0, cases})
	}
	return all
}

// single cuts the measurement of one genome on the cases from, up to to without it.
func single(genome, from, to int) (all []unit) {
	for ; from < to; from += casesPerUnit {
		all = append(all, unit{[]int{genome}, from, min(from+casesPerUnit, to)})
	}
	return all
}

// Evaluate implements population.Evaluator: every genome on all cases, or in a cascade on
// as many as it earns. A failing referee gives a *RefereeError.
func (b *Bench) Evaluate(ctx context.Context, genomes []*population.Genome) ([]population.Outcome, error) {
	if b.cascade.Cases > 0 {
		return b.inCascade(ctx, genomes)
	}
	return b.whole(ctx, genomes, units(len(genomes), len(b.Cases())))
}

// whole carries out units that hold every genome, and joins what each scored.
func (b *Bench) whole(ctx context.Context, genomes []*population.Genome, work []unit) ([]population.Outcome, error) {
	results, err := b.carryOut(ctx, genomes, work)
	if err != nil {
		return nil, err
	}
	parts := make([][]population.Outcome, len(genomes)) // in case order
	for i, u := range work {
		for k, index := range u.genomes {
			parts[index] = append(parts[index], results[i][k])
		}
	}
	outcomes := make([]population.Outcome, len(genomes))
	for i := range genomes {
		outcomes[i] = join(parts[i])
	}
	return outcomes, nil
}

// inCascade measures each genome in units of its own: whoever goes on beside it must not
// change its steps.
func (b *Bench) inCascade(ctx context.Context, genomes []*population.Genome) ([]population.Outcome, error) {
	first := min(b.cascade.Cases, len(b.Cases()))
	var work []unit
	for i := range genomes {
		work = append(work, single(i, 0, first)...)
	}
	outcomes, err := b.whole(ctx, genomes, work)
	if err != nil {
		return nil, err
	}
	var on []int
	work = nil
	for i, o := range outcomes {
		switch {
		case o.Status != population.OK:
		case o.Fitness() > b.cascade.AtMost:
			outcomes[i] = population.Outcome{Status: population.Cascade, Steps: o.Steps, Detail: fmt.Sprintf("%.6g on the first %d cases is over %.6g", o.Fitness(), first, b.cascade.AtMost)}
		case first < len(b.Cases()):
			work = append(work, single(len(on), first, len(b.Cases()))...)
			on = append(on, i)
		}
	}
	rest, err := b.whole(ctx, pick(genomes, on), work)
	if err != nil {
		return nil, err
	}
	for k, i := range on {
		outcomes[i] = join([]population.Outcome{outcomes[i], rest[k]})
	}
	return outcomes, nil
}

// among scores one genome as Evaluate does where it is one of n: how the work is cut says
// how much fuel a referee's memory saves.
func (b *Bench) among(ctx context.Context, n int, g *population.Genome) (population.Outcome, error) {
	genomes := []*population.Genome{g}
	if b.cascade.Cases > 0 {
		outcomes, err := b.inCascade(ctx, genomes)
		if err != nil {
			return population.Outcome{}, err
		}
		return outcomes[0], nil
	}
	var work []unit
	for _, u := range units(n, len(b.Cases())) {
		if u.genomes[0] == 0 {
			work = append(work, unit{[]int{0}, u.from, u.to})
		}
	}
	outcomes, err := b.whole(ctx, genomes, work)
	if err != nil {
		return population.Outcome{}, err
	}
	return outcomes[0], nil
}

// Measure scores genomes on all of the bench's cases.
func (b *Bench) Measure(ctx context.Context, genomes ...*population.Genome) ([]population.Outcome, error) {
	return b.whole(ctx, genomes, units(len(genomes), len(b.Cases())))
}

// MeasureEach scores genomes on each of some cases alone: an outcome by genome
// and case. The cases are taken in the given order, and order draws which genome
// of a case is asked first (nil: as they stand); neither changes an outcome.
func (b *Bench) MeasureEach(ctx context.Context, cases []int, order *rand.Rand, genomes ...*population.Genome) ([][]population.Outcome, error) {
	var work []unit
	for _, c := range cases {
		turn := len(work)
		for g := range genomes {
			work = append(work, unit{[]int{g}, c, c + 1})
		}
		if mine := work[turn:]; order != nil {
			order.Shuffle(len(mine), func(i, k int) { mine[i], mine[k] = mine[k], mine[i] })
		}
	}
	results, err := b.carryOut(ctx, genomes, work)
	if err != nil {
		return nil, err
	}
	outcomes := make([][]population.Outcome, len(genomes))
	for i, u := range work { // a genome's units come in the order of the cases
		outcomes[u.genomes[0]] = append(outcomes[u.genomes[0]], results[i][0])
	}
	return outcomes, nil
}

// carryOut has the units scored, begun in their order, and returns the outcomes
// by unit.
func (b *Bench) carryOut(ctx context.Context, genomes []*population.Genome, work []unit) ([][]population.Outcome, error) {
	results := make([][]population.Outcome, len(work))
	err := inParallel(ctx, b.tokens, len(work), func(ctx context.Context, i int) (err error) {
		results[i], err = b.Score(ctx, pick(genomes, work[i].genomes), work[i].from, work[i].to)
		return err
	})
	return results, err
}

// inParallel does n pieces of work, begun in their order, each with a token.
func inParallel(ctx context.Context, tokens chan struct{}, n int, do func(ctx context.Context, i int) error) error {
	g, group := errgroup.WithContext(ctx)
	for i := range n {
		select {
		case tokens <- struct{}{}:
		case <-group.Done():
		}
		if group.Err() != nil {
			break
		}
		g.Go(func() error {
			defer func() { <-tokens }()
			return do(group, i)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func pick(genomes []*population.Genome, indices []int) []*population.Genome {
	picked := make([]*population.Genome, len(indices))
	for i, index := range indices {
		picked[i] = genomes[index]
	}
	return picked
}

// join makes one outcome of the outcomes on consecutive cases: the first that
// failed, or all scores. A feature is the mean over the cases.
func join(parts []population.Outcome) population.Outcome {
	whole := population.Outcome{Status: population.OK}
	for _, part := range parts {
		if part.Status != population.OK {
			return part
		}
		whole.Features = joinFeatures(whole.Features, len(whole.Scores), part.Features, len(part.Scores))
		whole.Scores = append(whole.Scores, part.Scores...)
		whole.Steps += part.Steps
		whole.Detail = joinDetail(whole.Detail, part.Detail)
	}
	return whole
}

// joinFeatures is the mean of each feature over n and m cases. What is missing in one is 0
// there.
func joinFeatures(a map[string]float64, n int, b map[string]float64, m int) map[string]float64 {
	if len(a)+len(b) == 0 {
		return nil
	}
	mean := map[string]float64{}
	for name, v := range a {
		mean[name] = v * float64(n) / float64(n+m)
	}
	for name, v := range b {
		mean[name] += v * float64(m) / float64(n+m)
	}
	return mean
}

// maxDetail bounds in bytes what is kept of all that a genome raised.
const maxDetail = 2 << 10

func joinDetail(a, b string) string {
	switch {
	case b == "" || len(a) >= maxDetail:
		return a
	case a == "":
		return b
	}
	if room := maxDetail - len(a) - 1; len(b) > room {
		b = strings.ToValidUTF8(b[:max(room, 0)], "")
	}
	return a + "\n" + b
}
