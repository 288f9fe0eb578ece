package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"jird/population"
	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// Pool keeps shadows alive and has them score genomes. How many shadows there
// are and how many compute at once never changes a score: a unit of work is cut
// by the genomes and cases alone, and each genome is measured from a clean
// state. Safe for concurrent use.
type Pool struct {
	engine sandbox.Engine
	kinds  []string // of the grammar's definitions, for the wire
	fuel   int64    // steps per case
	idle   chan *sandbox.Shadow
	tokens chan struct{} // one per worker

	mu     sync.Mutex
	scored map[*sandbox.Shadow]bool // alive and has scored
	peak   int
}

// RefereeError says that the referee, not a candidate, failed.
type RefereeError struct {
	Message string
	Genome  string // expression it was scoring
}

func (e *RefereeError) Error() string {
	return fmt.Sprintf("the referee failed while it scored %s: %s", e.Genome, e.Message)
}

// NewPool starts shadows and keeps them alive until Close. At least one shadow
// and one worker are needed.
func NewPool(ctx context.Context, engine sandbox.Engine, grammar *population.Grammar, fuel int64, shadows, workers int) (*Pool, error) {
	p := &Pool{
		engine: engine, fuel: fuel, kinds: kinds(grammar),
		idle: make(chan *sandbox.Shadow, shadows), tokens: make(chan struct{}, workers),
		scored: map[*sandbox.Shadow]bool{},
	}
	var g errgroup.Group
	g.SetLimit(2 * runtime.NumCPU())
	for range shadows {
		g.Go(func() error {
			s, err := engine.Start(ctx)
			if err != nil {
				return err
			}
			p.idle <- s
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		p.Close()
		return nil, fmt.Errorf("starting %d shadows: %w", shadows, err)
	}
	return p, nil
}

// Close ends all shadows. No scoring may be under way.
func (p *Pool) Close() {
	var wg sync.WaitGroup
	for {
		select {
		case s := <-p.idle:
			wg.Go(func() { s.Close() })
		default:
			wg.Wait()
			return
		}
	}
}

// Peak is the most processes alive at one moment of which each had scored a
// genome.
func (p *Pool) Peak() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// unit is what one request to a shadow holds: some genomes on a range of cases.
type unit struct {
	genomes  []int // indices
	from, to int
}

const (
	// maxBatch bounds the genomes of one request, so that a failure inside it
	// costs few repetitions and a slow one does not idle the other workers.
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
			for from := 0; from < cases; from += casesPerUnit {
				all = append(all, unit{[]int{i}, from, min(from+casesPerUnit, cases)})
			}
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

// Evaluate implements population.Evaluator: every genome on all the engine's
// cases. A failing referee gives a *RefereeError.
func (p *Pool) Evaluate(ctx context.Context, genomes []*population.Genome) ([]population.Outcome, error) {
	work := units(len(genomes), len(p.engine.Cases()))
	results, err := p.carryOut(ctx, genomes, work)
	if err != nil {
		return nil, err
	}
	parts := make(map[int][]population.Outcome) // by genome, in case order
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

// among scores one genome as Evaluate does where it is one of n: how the work is cut says
// how much fuel a referee's memory saves.
func (p *Pool) among(ctx context.Context, n int, g *population.Genome) (population.Outcome, error) {
	var work []unit
	for _, u := range units(n, len(p.engine.Cases())) {
		if u.genomes[0] == 0 {
			work = append(work, unit{[]int{0}, u.from, u.to})
		}
	}
	results, err := p.carryOut(ctx, []*population.Genome{g}, work)
	if err != nil {
		return population.Outcome{}, err
	}
	var parts []population.Outcome
	for _, r := range results {
		parts = append(parts, r[0])
	}
	return join(parts), nil
}

// each scores every genome on every one of some cases alone. See
// Bench.MeasureEach.
func (p *Pool) each(ctx context.Context, genomes []*population.Genome, cases []int, order *rand.Rand) ([][]population.Outcome, error) {
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
	results, err := p.carryOut(ctx, genomes, work)
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
func (p *Pool) carryOut(ctx context.Context, genomes []*population.Genome, work []unit) ([][]population.Outcome, error) {
	results := make([][]population.Outcome, len(work))
	err := p.inParallel(ctx, len(work), func(ctx context.Context, i int) (err error) {
		results[i], err = p.score(ctx, pick(genomes, work[i].genomes), work[i])
		return err
	})
	return results, err
}

// inParallel does n pieces of work, begun in their order, each by one worker.
func (p *Pool) inParallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	return inParallel(ctx, p.tokens, n, do)
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
// failed, or all scores.
func join(parts []population.Outcome) population.Outcome {
	whole := population.Outcome{Status: population.OK}
	for _, part := range parts {
		if part.Status != population.OK {
			return part
		}
		whole.Scores = append(whole.Scores, part.Scores...)
		whole.Steps += part.Steps
	}
	return whole
}

// environmentTries is how often a request is made that the machine, not the
// candidate, kept from being answered.
const environmentTries = 3

// score has one shadow score one unit. A genome that fails in company is
// repeated alone in a fresh shadow before it counts.
func (p *Pool) score(ctx context.Context, genomes []*population.Genome, u unit) ([]population.Outcome, error) {
	var outcomes []population.Outcome
	failure, err := repeated(func(again bool) (err error) {
		outcomes, err = p.request(ctx, genomes, u, again)
		return err
	})
	if err != nil {
		return nil, err
	}
	if outcomes == nil && len(genomes) == 1 {
		return []population.Outcome{failed(failure)}, nil
	}
	return p.repeatFailed(ctx, genomes, outcomes, u)
}

func (p *Pool) repeatFailed(ctx context.Context, genomes []*population.Genome, outcomes []population.Outcome, u unit) ([]population.Outcome, error) {
	if len(genomes) == 1 && outcomes[0].Status != population.Memory {
		return outcomes, nil
	}
	if outcomes == nil {
		outcomes = make([]population.Outcome, len(genomes))
	}
	for i, g := range genomes {
		if outcomes[i].Status != "" && outcomes[i].Status != population.Memory {
			continue
		}
		alone, err := p.alone(ctx, g, u)
		if err != nil {
			return nil, err
		}
		outcomes[i] = alone
	}
	return outcomes, nil
}

func (p *Pool) alone(ctx context.Context, g *population.Genome, u unit) (population.Outcome, error) {
	var outcomes []population.Outcome
	failure, err := repeated(func(bool) (err error) {
		outcomes, err = p.request(ctx, []*population.Genome{g}, u, true)
		return err
	})
	switch {
	case err != nil:
		return population.Outcome{}, err
	case failure != nil:
		return failed(failure), nil
	}
	return outcomes[0], nil
}

// repeated makes a request until the machine is not to blame for its failure. It returns
// the failure that the candidate is to blame for, or nil.
func repeated(request func(again bool) error) (*sandbox.Failure, error) {
	for try := 1; ; try++ {
		err := request(try > 1)
		var failure *sandbox.Failure
		switch {
		case err == nil:
			return nil, nil
		case !errors.As(err, &failure):
			return nil, err
		case !environmental(failure):
			return failure, nil
		case try == environmentTries:
			return nil, fmt.Errorf("the machine gave a shadow too little time, %d times over: %w; raise limits.wall or lower --workers", environmentTries, failure)
		}
	}
}

// environmental tells a machine that gave no time from a candidate that used it
// up: under half of the wall time was spent computing.
func environmental(f *sandbox.Failure) bool {
	return f.Cause == sandbox.TimedOut && f.CPU < f.Wall/2
}

func failed(f *sandbox.Failure) population.Outcome {
	status := population.Crash
	switch f.Cause {
	case sandbox.TimedOut:
		status = population.Timeout
	case sandbox.Garbled:
		status = population.Garbage
	}
	return population.Outcome{Status: status, Detail: f.Exit.String()}
}

func (p *Pool) request(ctx context.Context, genomes []*population.Genome, u unit, fresh bool) (outcomes []population.Outcome, err error) {
	err = p.exchange(ctx, p.encode(genomes, u), fresh, func(answer sexpr.Value) (err error) {
		outcomes, err = decode(answer, genomes, u.to-u.from)
		return err
	})
	return outcomes, err
}

// exchange takes a shadow, or replaces it by a fresh one, and asks it once. read gets
// the answer; its error says that the answer is garbled, or is a *RefereeError. A shadow
// that fails is replaced, so the number alive stays the same.
func (p *Pool) exchange(ctx context.Context, request sexpr.Value, fresh bool, read func(answer sexpr.Value) error) error {
	var s *sandbox.Shadow
	select {
	case s = <-p.idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	if fresh {
		p.forget(s)
		s.Close()
		var err error
		if s, err = p.engine.Start(ctx); err != nil {
			return fmt.Errorf("starting a fresh shadow: %w", err)
		}
	}
	answer, err := s.Ask(ctx, request)
	if err == nil {
		err = read(answer)
		var referee *RefereeError
		if err == nil || errors.As(err, &referee) {
			p.count(s)
			p.idle <- s
			return err
		}
		err = &sandbox.Failure{Cause: sandbox.Garbled, Exit: s.Kill(), Err: err}
	}
	p.forget(s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	next, startErr := p.engine.Start(ctx)
	if startErr != nil {
		return fmt.Errorf("replacing a shadow that failed (%v): %w", err, startErr)
	}
	p.idle <- next
	return err
}

func (p *Pool) count(s *sandbox.Shadow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scored[s] = true
	p.peak = max(p.peak, len(p.scored))
}

func (p *Pool) forget(s *sandbox.Shadow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.scored, s)
}

// encode writes (score FUEL FROM TO ((KIND DEFINITION) ...) ...).
func (p *Pool) encode(genomes []*population.Genome, u unit) sexpr.Value {
	request := sexpr.List{sexpr.Symbol("score"), sexpr.NewInt(p.fuel), sexpr.NewInt(int64(u.from)), sexpr.NewInt(int64(u.to))}
	for _, g := range genomes {
		request = append(request, installable(g, p.kinds))
	}
	return request
}

// kinds are the results of a grammar's definitions, as the wire names them.
func kinds(g *population.Grammar) (all []string) {
	for _, d := range g.Definitions {
		all = append(all, d.Result.String())
	}
	return all
}

func installable(g *population.Genome, kinds []string) sexpr.List {
	var definitions sexpr.List
	for i, d := range g.Definitions() {
		definitions = append(definitions, sexpr.List{sexpr.Symbol(kinds[i]), d})
	}
	return definitions
}
