package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"jird/population"
	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// Pool is the executor and the court of genomes of a grammar: it keeps shadows alive and
// has them score, or play matches. How many shadows there
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

// OpenPool loads an image into a zygote, and starts shadows that are kept alive until
// Close. At least one shadow and one worker are needed.
func OpenPool(ctx context.Context, im sandbox.Image, grammar *population.Grammar, o sandbox.Options, fuel int64, shadows, workers int) (*Pool, error) {
	engine, err := sandbox.Open(ctx, o, im)
	if err != nil {
		return nil, err
	}
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

// Close ends all shadows and their zygote. No scoring may be under way.
func (p *Pool) Close() {
	defer p.engine.Close()
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

// Score implements Executor: one shadow scores the unit. A genome that fails in company is
// repeated alone in a fresh shadow before it counts.
func (p *Pool) Score(ctx context.Context, genomes []*population.Genome, from, to int) ([]population.Outcome, error) {
	u := unit{from: from, to: to}
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

// Cases implements Executor.
func (p *Pool) Cases() []string { return p.engine.Cases() }

// Parallel implements Executor.
func (p *Pool) Parallel() int { return cap(p.tokens) }

// environmentTries is how often a request is made that the machine, not the
// candidate, kept from being answered.
const environmentTries = 3

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
		case struck(failure) && try < environmentTries:
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

// toldToEnd is the status with which Gambit ends on SIGTERM, as on whatever else nobody
// catches.
const toldToEnd = 70

// struck says whether somebody else may have ended a process, such as who ends all of a
// batch job's at once, or the kernel that is short of memory.
func struck(f *sandbox.Failure) bool {
	switch f.Exit.Signal {
	case syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP:
		return f.Cause == sandbox.Ended
	}
	return f.Cause == sandbox.Ended && f.Exit.Code == toldToEnd
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
