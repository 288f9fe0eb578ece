package ga

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand"
	"slices"
	"strconv"

	"github.com/MaxHalford/eaopt"

	"jird/population"
)

// individual is what eaopt carries. The model makes children by itself, so
// eaopt's own variation is never asked for.
type individual struct{ member Member }

func (i *individual) Evaluate() (float64, error) {
	if i.member.Outcome.Status == "" {
		return 0, errors.New("ga: an individual reached eaopt without having been measured")
	}
	return i.member.Outcome.Fitness(), nil
}
func (i *individual) Mutate(*rand.Rand)                  {}
func (i *individual) Crossover(eaopt.Genome, *rand.Rand) {}
func (i *individual) Clone() eaopt.Genome                { c := *i; return &c }

// loop is one run.
type loop struct {
	cfg   Config
	ctx   context.Context
	eval  population.Evaluator
	known map[string]population.Outcome
	each  func(*State, []Member) (bool, error)

	state   State
	started int // generation that the run begins from
	barrier *barrier
	credit  map[string]Credit // of the generation that is under way
	stop    bool
	failed  error
}

// Run evolves until the configured generations are done, each asks to stop, ctx
// is cancelled or the evaluator fails. It starts with a first cohort, or from the
// state after some generation, with known as the outcomes of all genomes measured
// until then. each is called after every whole generation, the first cohort
// included unless it was part of from, with a state that it may keep and the
// members measured in it for the first time.
func Run(ctx context.Context, cfg Config, from *State, eval population.Evaluator, known map[string]population.Outcome, each func(s *State, fresh []Member) (stop bool, err error)) (*State, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Control == BestOfN && len(cfg.Seeds) == 0 {
		return nil, fmt.Errorf("ga: the control %s needs a seed to vary", cfg.Control)
	}
	if cfg.proposes() && cfg.Proposer == nil {
		return nil, errors.New("ga: the configuration names proposers and has none: set Proposer")
	}
	if cfg.Grammar.Open && len(cfg.Seeds) == 0 {
		return nil, errors.New("ga: nothing can be drawn from an open grammar: a seed is needed")
	}
	l := &loop{cfg: cfg, ctx: ctx, eval: eval, known: maps.Clone(known), each: each}
	if l.known == nil {
		l.known = map[string]population.Outcome{}
	}
	if err := l.begin(from); err != nil || l.stop {
		return &l.state, err
	}
	l.barrier = newBarrier(cfg.Islands, l.generation)
	return &l.state, l.minimize()
}

// begin draws and measures the first cohort, or takes over a state.
func (l *loop) begin(from *State) error {
	if from != nil {
		l.state = *from
		l.started = from.Generation
		return l.cfg.fits(from)
	}
	cohorts := make([][]Member, l.cfg.Islands)
	for i := range cohorts {
		cohorts[i] = l.cfg.first(i)
	}
	fresh, err := l.measure(cohorts)
	if err != nil {
		return err
	}
	l.finish(cohorts, fresh)
	return l.failed
}

// fits says whether a state can have come from this configuration.
func (c Config) fits(s *State) error {
	if len(s.Islands) != c.Islands {
		return fmt.Errorf("ga: the state has %d islands, the configuration %d: resume with the configuration it began with", len(s.Islands), c.Islands)
	}
	for i, cohort := range s.Islands {
		if len(cohort) != c.Population {
			return fmt.Errorf("ga: island %d of the state has %d members, the configuration %d: resume with the configuration it began with", i, len(cohort), c.Population)
		}
	}
	return nil
}

// minimize hands the loop to eaopt.
func (l *loop) minimize() error {
	left := uint(math.MaxInt)
	if l.cfg.Generations > 0 {
		left = uint(max(0, l.cfg.Generations-l.started))
	}
	if left == 0 { // a run that is over, which eaopt would refuse
		return nil
	}
	config := eaopt.GAConfig{
		NPops: uint(l.cfg.Islands), PopSize: uint(l.cfg.Population), NGenerations: left,
		HofSize: 1, // unused: ours holds no clones
		Model:   model{l}, Migrator: migrator{l}, MigFrequency: 1,
		RNG:       l.cfg.derive("eaopt", 0, 0), // for ids only
		EarlyStop: func(*eaopt.GA) bool { return l.stop || l.failed != nil || l.ctx.Err() != nil },
	}
	config.Callback = l.afterGeneration
	ga, err := config.NewGA()
	if err != nil {
		return err
	}
	var dealt []Member
	for _, cohort := range l.state.Islands {
		dealt = append(dealt, cohort...)
	}
	if err := ga.Minimize(func(*rand.Rand) eaopt.Genome {
		next := dealt[0]
		dealt = dealt[1:]
		return &individual{next}
	}); err != nil {
		return err
	}
	// What each answered in the last generation says more than a cancellation
	// that came meanwhile.
	if l.failed != nil || l.stop || l.over() {
		return l.failed
	}
	return l.ctx.Err()
}

func (l *loop) over() bool {
	return l.cfg.Generations > 0 && l.state.Generation >= l.cfg.Generations
}

// afterGeneration is eaopt's callback: once after the first cohort was dealt,
// then after every generation. It names the islands, and puts each cohort into
// the total order, since eaopt sorts by fitness alone.
func (l *loop) afterGeneration(ga *eaopt.GA) {
	cohorts := make([][]Member, len(ga.Populations))
	for i := range ga.Populations {
		p := &ga.Populations[i]
		p.ID = strconv.Itoa(i)
		cohorts[i] = members(p.Individuals)
		sortMembers(cohorts[i])
		place(p.Individuals, cohorts[i])
	}
	if ga.Generations > 0 {
		l.state.Generation = l.started + int(ga.Generations)
		l.finish(cohorts, l.barrier.fresh)
	}
}

func members(individuals eaopt.Individuals) []Member {
	all := make([]Member, len(individuals))
	for i, in := range individuals {
		all[i] = in.Genome.(*individual).member
	}
	return all
}

func place(individuals eaopt.Individuals, cohort []Member) {
	for i, m := range cohort {
		individuals[i].Genome = &individual{m}
		individuals[i].Fitness = m.Outcome.Fitness()
		individuals[i].Evaluated = true
	}
}

// generation is what islands do together: they are bred, where there are sources, and
// measured.
func (l *loop) generation(cohorts [][]Member) (fresh []Member, err error) {
	if !l.sourced() {
		return l.measure(cohorts)
	}
	slots, err := l.breed(cohorts)
	if err != nil {
		return nil, err
	}
	if fresh, err = l.measure(cohorts); err == nil {
		l.credit = l.credited(slots, cohorts)
	}
	return fresh, err
}

// sourced says whether children come from more than the operators.
func (l *loop) sourced() bool { return len(l.cfg.Sources) > 0 && l.cfg.Control == Evolve }

// measure has every genome of the cohorts measured that never was, in the order
// of island and index, and sets all outcomes.
func (l *loop) measure(cohorts [][]Member) (fresh []Member, err error) {
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	if l.cfg.Moving {
		clear(l.known)
	}
	var genomes []*population.Genome
	asked := map[string]bool{}
	for _, cohort := range cohorts {
		for _, m := range cohort {
			if _, done := l.known[m.Genome.Hash()]; !done && !asked[m.Genome.Hash()] {
				asked[m.Genome.Hash()] = true
				genomes = append(genomes, m.Genome)
				fresh = append(fresh, m)
			}
		}
	}
	if len(genomes) > 0 {
		outcomes, err := l.eval.Evaluate(l.ctx, genomes)
		if err == nil {
			err = checkOutcomes(genomes, outcomes)
		}
		if err != nil {
			return nil, err
		}
		for i, o := range outcomes {
			l.known[genomes[i].Hash()] = o
			fresh[i].Outcome = o
		}
	}
	for _, cohort := range cohorts {
		for i := range cohort {
			cohort[i].Outcome = l.known[cohort[i].Genome.Hash()]
		}
	}
	return fresh, nil
}

// checkOutcomes holds an evaluator to its contract: a NaN would make every
// comparison false, and lexicase reads all scores by one list of cases.
func checkOutcomes(genomes []*population.Genome, outcomes []population.Outcome) error {
	if len(outcomes) != len(genomes) {
		return fmt.Errorf("ga: the evaluator gave %d outcomes for %d genomes", len(outcomes), len(genomes))
	}
	cases := -1
	for i, o := range outcomes {
		fault := func(format string, args ...any) error {
			return fmt.Errorf("ga: the evaluator's outcome of genome %.12s %s", genomes[i].Hash(), fmt.Sprintf(format, args...))
		}
		if o.Status == "" {
			return fault("has no status")
		}
		if o.Status != population.OK {
			continue
		}
		if cases < 0 {
			cases = len(o.Scores)
		}
		if len(o.Scores) == 0 || len(o.Scores) != cases {
			return fault("has %d scores, others have %d: one per case is needed", len(o.Scores), cases)
		}
		if f := o.Fitness(); math.IsNaN(f) || math.IsInf(f, 0) {
			return fault("is not finite on the mean")
		}
		for c, s := range o.Scores {
			if v := s.Value(); math.IsNaN(v) || math.IsInf(v, 0) || s.Den <= 0 {
				return fault("has %v/%v for case %d: a finite fraction is needed", s.Num, s.Den, c)
			}
		}
		for name, v := range o.Features {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fault("has the feature %s of %v: a finite number is needed", name, v)
			}
		}
	}
	return nil
}

// finish takes a whole generation into the state and tells the caller.
func (l *loop) finish(cohorts [][]Member, fresh []Member) {
	for _, c := range cohorts {
		sortMembers(c)
	}
	before := population.WorstFitness
	if len(l.state.Best) > 0 {
		before = l.state.Best[0].Outcome.Fitness()
	}
	l.state.Islands = cohorts
	l.state.Evaluations += len(fresh)
	candidates := slices.Concat(cohorts...)
	if !l.cfg.Moving {
		candidates = slices.Concat(l.state.Best, candidates)
	}
	l.state.Best = bestOf(candidates, max(1, l.cfg.Best))
	l.state.Archive = l.cfg.archived(l.state.Archive, slices.Concat(cohorts...))
	l.state.Credit = l.credit
	l.state.Stagnant++
	if l.state.Best[0].Outcome.Fitness() < before {
		l.state.Stagnant = 0
	}
	if l.each == nil {
		return
	}
	snapshot := l.state
	snapshot.Islands = make([][]Member, len(cohorts))
	for i := range cohorts {
		snapshot.Islands[i] = slices.Clone(cohorts[i])
	}
	snapshot.Best = slices.Clone(l.state.Best)
	l.stop, l.failed = l.each(&snapshot, fresh)
}

// bestOf keeps the best, distinct by genome and by scores: of equals the
// smallest stays. A failure is kept only where nothing succeeded.
func bestOf(members []Member, most int) []Member {
	sortMembers(members)
	var best []Member
	for _, m := range members {
		if len(best) == most || (len(best) > 0 && m.Outcome.Status != population.OK) {
			break
		}
		if !slices.ContainsFunc(best, func(b Member) bool {
			return b.Genome.Hash() == m.Genome.Hash() || (m.Outcome.Status == population.OK && slices.Equal(b.Outcome.Scores, m.Outcome.Scores))
		}) {
			best = append(best, m)
		}
	}
	return best
}
