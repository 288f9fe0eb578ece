package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	v1 "math/rand" // eaopt's, and so population's
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"jird/orchestrator/rating"
	"jird/population"
	"jird/population/ga"
)

// Evolution says how two sides are evolved against each other before the tournament.
// Each is a genetic search of its own; they meet after every generation.
type Evolution struct {
	Search    [2]ga.Config // Moving, of as many generations
	Opponents int          // of the other side's last generation, that each genome meets
	Archive   int          // of the other side's earlier champions
	Seeds     int          // matches with each
	Finalists int          // champions of each side that enter the tournament
	// Drawn says that the second side is not evolved: the first meets as many opponents as
	// else, drawn from the second's grammar anew in each generation (the control without
	// parasites: Hillis 1990, "Co-evolving parasites improve simulated evolution").
	Drawn bool
}

// Generations are the states of both sides after each generation so far.
type Generations [][2]*ga.State

// evolving is an evolution under way.
type evolving struct {
	TournamentPlan
	court Court
	book  Rounds

	mu      sync.Mutex
	history Generations
	arrived [2]*ga.State
	next    chan struct{} // closed when both have arrived
}

// evolve goes on with the evolution from what was recorded, and returns all of it.
func (p TournamentPlan) evolve(ctx context.Context, court Court, book Rounds, history Generations, after func(generation, of int)) (Generations, error) {
	e := &evolving{TournamentPlan: p, court: court, book: book, history: history, next: make(chan struct{})}
	g, ctx := errgroup.WithContext(ctx)
	for side := range p.evolved() {
		var from *ga.State
		if len(history) > 0 {
			from = history[len(history)-1][side]
		}
		g.Go(func() error {
			_, err := ga.Run(ctx, p.Evolution.Search[side], from, sideOf{e, side}, nil, func(s *ga.State, _ []ga.Member) (bool, error) {
				if err := e.meet(ctx, side, s); err != nil {
					return true, err
				}
				if side == 0 {
					after(s.Generation, p.Evolution.Search[0].Generations)
				}
				return false, nil
			})
			return err
		})
	}
	err := g.Wait()
	return e.history, err
}

// evolved is how many sides are, from the first.
func (p TournamentPlan) evolved() int {
	if p.Evolution.Drawn {
		return 1
	}
	return 2
}

// meet waits until both sides have ended the generation. The second records it; of one
// that is not evolved there is nothing but the number.
func (e *evolving) meet(ctx context.Context, side int, s *ga.State) error {
	e.mu.Lock()
	e.arrived[side] = s
	if e.Evolution.Drawn {
		e.arrived[1] = &ga.State{Generation: s.Generation}
	}
	next := e.next
	if e.arrived[1-side] == nil {
		e.mu.Unlock()
		select {
		case <-next:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer e.mu.Unlock()
	if err := e.book.Evolved(e.Record.ID, e.arrived); err != nil {
		return err
	}
	e.history = append(e.history, e.arrived)
	e.arrived, e.next = [2]*ga.State{}, make(chan struct{})
	close(next)
	return nil
}

// sideOf measures one side's genomes.
type sideOf struct {
	*evolving
	side int
}

// Evaluate implements population.Evaluator: a case is one opponent, a score what was
// missed of the best against it. Opponents that fewer beat count for more (competitive
// fitness sharing, Rosin and Belew 1997, "New methods for competitive coevolution").
func (e sideOf) Evaluate(ctx context.Context, genomes []*population.Genome) ([]population.Outcome, error) {
	e.mu.Lock()
	generation := len(e.history)
	opponents := e.opponents(e.side, generation)
	e.mu.Unlock()
	var all []Code
	for _, g := range slices.Concat(genomes, opponents) {
		all = append(all, g)
	}
	var matches []Match
	for i := range genomes {
		for o := range opponents {
			for seed := range e.Evolution.Seeds {
				m := Match{Blue: i, Red: len(genomes) + o, Seed: e.evolutionSeed(generation, seed)}
				if e.side == 1 {
					m.Blue, m.Red = m.Red, m.Blue
				}
				matches = append(matches, m)
			}
		}
	}
	results, err := e.court.Play(ctx, all, matches, false)
	if err != nil {
		return nil, err
	}
	return e.shared(results, len(genomes), len(opponents)), nil
}

// shared turns results, by genome, opponent and seed, into outcomes.
func (e sideOf) shared(results []MatchResult, genomes, opponents int) []population.Outcome {
	seeds := e.Evolution.Seeds
	beat := make([]float64, opponents)
	at := func(i, o int) []MatchResult { return results[(i*opponents+o)*seeds:][:seeds] }
	for i := range genomes {
		for o := range opponents {
			won := 0.0
			for _, r := range at(i, o) {
				won += e.own(r).Score() / float64(seeds)
			}
			if won > 0.5 {
				beat[o]++
			}
		}
	}
	outcomes := make([]population.Outcome, genomes)
	for i := range outcomes {
		outcomes[i].Status = population.OK
		for o := range opponents {
			missed := 0.0
			for _, r := range at(i, o) {
				mine := e.own(r)
				missed += e.missing(mine) / float64(seeds)
				outcomes[i].Steps += mine.BlueSteps
			}
			weight := 1 / max(1, beat[o])
			outcomes[i].Scores = append(outcomes[i].Scores, population.Score{Num: weight * missed, Den: weight})
		}
	}
	return outcomes
}

// own is a result as if this side had been blue.
func (e sideOf) own(r MatchResult) MatchResult {
	if e.side == 1 {
		r.Blue, r.Red, r.BlueSteps, r.RedSteps = r.Red, r.Blue, r.RedSteps, r.BlueSteps
	}
	return r
}

// opponents are whom a side meets in a generation: in the first the entrants, later the
// best and some others of the other side's generation before, and some champions of
// earlier ones; as a control, as many that are drawn. e.mu is held, or nobody else runs.
func (e *evolving) opponents(side, generation int) (all []*population.Genome) {
	switch {
	case generation == 0 && !e.Evolution.Drawn:
		return e.firstOpponents(1 - side)
	case generation == 0:
		return e.drawn(1-side, 0, len(e.firstOpponents(1-side)))
	case e.Evolution.Drawn:
		return e.drawn(1-side, generation, e.Evolution.Opponents+min(e.Evolution.Archive, generation-1))
	}
	seen := map[string]bool{}
	add := func(g *population.Genome, most int) {
		if len(all) < most && !seen[g.Hash()] {
			seen[g.Hash()] = true
			all = append(all, g)
		}
	}
	rng := e.generator("opponents", side, generation)
	last := e.history[generation-1][1-side]
	for _, m := range last.Best {
		add(m.Genome, (e.Evolution.Opponents+1)/2)
	}
	cohort := slices.Concat(last.Islands...)
	for _, k := range rng.Perm(len(cohort)) {
		add(cohort[k].Genome, e.Evolution.Opponents)
	}
	for _, k := range rng.Perm(generation - 1) {
		add(e.history[k][1-side].Best[0].Genome, e.Evolution.Opponents+e.Evolution.Archive)
	}
	return all
}

// firstOpponents are a side's entrants, or some of its genomes where it has none.
func (e *evolving) firstOpponents(side int) (all []*population.Genome) {
	for _, entrant := range e.Entrants {
		if entrant.Side == side && !entrant.Late {
			all = append(all, entrant.Code.(*population.Genome))
		}
	}
	if len(all) == 0 {
		return e.drawn(side, 0, e.Evolution.Opponents)
	}
	return all
}

// drawn are genomes of a side that nothing was bred from.
func (e *evolving) drawn(side, generation, count int) (all []*population.Genome) {
	rng := v1.New(v1.NewSource(int64(derived("drawn/%s/%d/%d/%d", e.Record.SpecHash, e.Record.Seed, side, generation) >> 1)))
	seen := map[string]bool{}
	for try := 0; len(all) < count; try++ {
		g := e.Grammars[side].Random(rng)
		if !seen[g.Hash()] || try >= drawTries*count { // a small grammar has no more
			seen[g.Hash()] = true
			all = append(all, g)
		}
	}
	return all
}

// drawTries is how many genomes may be drawn for an opponent that the others are not.
const drawTries = 5

func (p TournamentPlan) generator(purpose string, side, generation int) *rand.Rand {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d/%d/%d", purpose, p.Record.SpecHash, p.Record.Seed, side, generation))
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])))
}

// evolutionSeed is of a match of the evolution; the tournament's rounds have others.
func (p TournamentPlan) evolutionSeed(generation, n int) uint64 {
	return derived("evolve/%s/%d/%d/%d", p.Record.SpecHash, p.Record.Seed, generation, n) | 4
}

// finalists are the champions of evenly spaced generations, the last among them, under
// the name of their side and generation.
func (p TournamentPlan) finalists(history Generations) (all []Entrant) {
	taken := map[string]bool{}
	for _, e := range p.Entrants {
		taken[e.Name] = true
	}
	for side, name := range p.SideNames[:p.evolved()] {
		for _, states := range Evenly(history, p.Evolution.Finalists) {
			generation, champion := states[side].Generation, states[side].Best[0].Genome
			all = append(all, Entrant{Name: FreeName(fmt.Sprintf("%s-%d", name, generation), taken), Side: side, Code: champion, Finalist: true})
		}
	}
	return all
}

// Evenly are so many at most, evenly spaced, the last among them.
func Evenly[T any](all []T, most int) (some []T) {
	count := min(most, len(all))
	for k := range count {
		some = append(some, all[(k+1)*len(all)/count-1])
	}
	return some
}

// warnings are what the finalists' matches say of the evolution: whether it went in
// circles, whether one side had nothing to select by, what was forgotten.
func (p TournamentPlan) warnings(table rating.Table) (all []string) {
	var of [2][]int
	for i, e := range p.Entrants {
		if e.Finalist {
			of[e.Side] = append(of[e.Side], i)
		}
	}
	if len(of[0]) == 0 || len(of[0]) != len(of[1]) {
		return nil
	}
	var abreast []rating.Cell
	for k := range of[0] {
		abreast = append(abreast, table[of[0][k]][of[1][k]])
	}
	if d := rating.FindDisengagement(abreast); d.Found {
		all = append(all, fmt.Sprintf("%s against %s: %v", p.SideNames[0], p.SideNames[1], d))
	}
	for side, name := range p.SideNames {
		h := table.Sub(of[side], of[1-side])
		if c := rating.FindCycling(h); c.Found {
			all = append(all, fmt.Sprintf("%s: %v", name, c))
		}
		if f := rating.FindForgetting(h); f.Found {
			all = append(all, fmt.Sprintf("%s: %v", name, f))
		}
	}
	return all
}
