package ga

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/MaxHalford/eaopt"
	"go.uber.org/goleak"

	"jird/population"
	"jird/snapshots/sexpr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func grammar(t testing.TB) *population.Grammar {
	t.Helper()
	x := sexpr.Symbol("x")
	g := &population.Grammar{
		Definitions: []population.Definition{{Name: "f", Params: []population.Param{{Name: "x"}}}},
		Functions:   []string{"+", "-", "*"}, Leaves: []sexpr.Value{x},
		Constants: []population.ConstantRange{{Low: -3, High: 3, Integer: true}}, MaxDepth: 8, MaxSize: 40,
	}
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	return g
}

// oracle evaluates + - * over x: the one place in Go where a genome is
// evaluated, for tests alone.
func oracle(v sexpr.Value, x float64) float64 {
	switch v := v.(type) {
	case sexpr.Symbol:
		return x
	case sexpr.Float:
		return float64(v)
	case sexpr.List:
		a, b := oracle(v[1], x), oracle(v[2], x)
		switch v[0] {
		case sexpr.Symbol("+"):
			return a + b
		case sexpr.Symbol("-"):
			return a - b
		case sexpr.Symbol("*"):
			return a * b
		}
	}
	panic("oracle: unknown expression")
}

// regression scores how near a genome comes to x^3 - 2x + 1.
type regression struct {
	calls  atomic.Int32
	inside atomic.Int32
	asked  []int
	fail   error
}

func (r *regression) Evaluate(ctx context.Context, genomes []*population.Genome) ([]population.Outcome, error) {
	if r.inside.Add(1) != 1 {
		panic("evaluated twice at once")
	}
	defer r.inside.Add(-1)
	r.calls.Add(1)
	r.asked = append(r.asked, len(genomes))
	if r.fail != nil && r.calls.Load() > 2 {
		return nil, r.fail
	}
	seen := map[string]bool{}
	outcomes := make([]population.Outcome, len(genomes))
	for i, g := range genomes {
		if seen[g.Hash()] {
			panic("a genome was asked for twice in one batch")
		}
		seen[g.Hash()] = true
		definition, err := g.Definitions()[0].Value()
		if err != nil {
			return nil, err
		}
		body := definition.(sexpr.List)[2]
		o := population.Outcome{Status: population.OK}
		for x := -2.0; x <= 2; x += 0.5 {
			miss := math.Abs(oracle(body, x) - (x*x*x - 2*x + 1))
			o.Scores = append(o.Scores, population.Score{Num: math.Min(miss, 1e6), Den: 1})
		}
		outcomes[i] = o
	}
	return outcomes, ctx.Err()
}

func config(t testing.TB) Config {
	return Config{
		Grammar: grammar(t), Seed: 3, Islands: 3, Population: 40, Generations: 12, MigrateEvery: 3, Migrants: 2,
		Selection: Selection{Kind: "tournament", Size: 4}, Elites: 2, Best: 10,
		Operators: Operators{Crossover: 3, SizeFair: 3, Subtree: 2, Point: 2, Constant: 2, Hoist: 1},
	}
}

// signature is all that a state says.
func signature(s *State) string {
	text := fmt.Sprint(s.Generation, s.Evaluations, s.Stagnant)
	for _, c := range append(slices.Clone(s.Islands), s.Best) {
		for _, m := range c {
			text += fmt.Sprintf("\n%s %s %v %v", m.Genome.Hash()[:12], m.Op, m.Parents, m.Outcome.Fitness())
		}
	}
	return text
}

func run(t testing.TB, cfg Config, from *State, known map[string]population.Outcome, eval population.Evaluator) (states []*State, outcomes map[string]population.Outcome) {
	t.Helper()
	outcomes = map[string]population.Outcome{}
	for h, o := range known {
		outcomes[h] = o
	}
	_, err := Run(context.Background(), cfg, from, eval, known, func(s *State, fresh []Member) (bool, error) {
		states = append(states, s)
		for _, m := range fresh {
			outcomes[m.Genome.Hash()] = m.Outcome
		}
		return false, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return states, outcomes
}

func TestResumeIsExact(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tournament", "lexicase", "epsilon-lexicase"} {
		cfg := config(t)
		cfg.Selection.Kind = kind
		whole, _ := run(t, cfg, nil, nil, &regression{})
		if len(whole) != cfg.Generations+1 {
			t.Fatalf("%d states for %d generations", len(whole), cfg.Generations)
		}
		for _, stop := range []int{0, 4, 5, 6, 11} {
			half := cfg
			if half.Generations = stop; stop == 0 {
				half.Generations = 1
			}
			first, known := run(t, half, nil, nil, &regression{})
			rest, _ := run(t, cfg, first[len(first)-1], known, &regression{})
			if signature(rest[len(rest)-1]) != signature(whole[len(whole)-1]) {
				t.Errorf("%s: resumed after generation %d, the run ends otherwise", kind, half.Generations)
			}
		}
	}
}

func TestSearchBeatsRandom(t *testing.T) {
	t.Parallel()
	var search, random float64
	for seed := range uint64(5) {
		cfg := config(t)
		cfg.Seed, cfg.Generations = seed, 30
		searched, _ := run(t, cfg, nil, nil, &regression{})
		cfg.Control = Random
		drawn, _ := run(t, cfg, nil, nil, &regression{})
		a, b := searched[len(searched)-1].Best[0].Outcome.Fitness(), drawn[len(drawn)-1].Best[0].Outcome.Fitness()
		t.Logf("seed %d: search %.3f, random %.3f", seed, a, b)
		search, random = search+a, random+b
	}
	if search >= 0.75*random {
		t.Errorf("over five seeds search misses by %.3f, random by %.3f", search, random)
	}
}

// One batch per generation, no genome measured twice in a run, none left with
// another's fitness; the best never gets lost; the hall of fame holds no clones.
func TestCohortsAreSound(t *testing.T) {
	eval := &regression{}
	states, outcomes := run(t, config(t), nil, nil, eval)
	if int(eval.calls.Load()) != len(states) {
		t.Errorf("%d batches for %d generations", eval.calls.Load(), len(states))
	}
	total := 0
	for _, n := range eval.asked {
		total += n
	}
	if total != len(outcomes) {
		t.Errorf("%d evaluations of %d distinct genomes", total, len(outcomes))
	}
	best := math.Inf(1)
	for _, s := range states {
		for _, m := range slices.Concat(s.Islands...) {
			if !reflect.DeepEqual(m.Outcome, outcomes[m.Genome.Hash()]) {
				t.Fatalf("generation %d: %s has the outcome of another genome", s.Generation, m.Genome.Expr())
			}
		}
		now := math.Inf(1)
		for _, m := range slices.Concat(s.Islands...) {
			now = min(now, m.Outcome.Fitness())
		}
		if now > best {
			t.Errorf("generation %d lost the best: %v after %v", s.Generation, now, best)
		}
		best = now
		seen := map[string]bool{}
		for _, m := range s.Best {
			if seen[m.Genome.Hash()] {
				t.Errorf("generation %d: a clone in the hall of fame", s.Generation)
			}
			seen[m.Genome.Hash()] = true
		}
	}
}

func TestEvaluatorErrorEndsTheRun(t *testing.T) {
	broken := errors.New("the store is gone")
	_, err := Run(context.Background(), config(t), nil, &regression{fail: broken}, nil, nil)
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err = Run(ctx, config(t), nil, &regression{}, nil, func(s *State, _ []Member) (bool, error) {
		if s.Generation == 3 {
			cancel()
		}
		return false, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestEachMayStop(t *testing.T) {
	last := 0
	s, err := Run(context.Background(), config(t), nil, &regression{}, nil, func(s *State, _ []Member) (bool, error) {
		last = s.Generation
		return s.Generation == 4, nil
	})
	if err != nil || s.Generation != 4 || last != 4 {
		t.Errorf("stopped at %d and %d, %v", s.Generation, last, err)
	}
}

// plain is a genome on which eaopt's own ways show their defects.
type plain struct{ value float64 }

func (p *plain) Evaluate() (float64, error) { return p.value, nil }
func (p *plain) Mutate(rng *rand.Rand)      { p.value = rng.Float64() }
func (p *plain) Clone() eaopt.Genome        { c := *p; return &c }
func (p *plain) Crossover(other eaopt.Genome, rng *rand.Rand) {
	o := other.(*plain)
	p.value, o.value = rng.Float64(), rng.Float64()
}

// The defects of eaopt v0.4.2 that this package works around are there: were
// one of them gone, the workaround could go too.
func TestDefectsOfEaoptAreThere(t *testing.T) {
	t.Run("the second child of a crossover keeps a stale fitness", func(t *testing.T) {
		rng := rand.New(rand.NewSource(1))
		a, b := eaopt.NewIndividual(&plain{1}, rng), eaopt.NewIndividual(&plain{2}, rng)
		if err := errors.Join(a.Evaluate(), b.Evaluate()); err != nil {
			t.Fatal(err)
		}
		a.Crossover(b, rng)
		if !b.Evaluated || b.Fitness == b.Genome.(*plain).value {
			t.Error("the mate was marked unevaluated")
		}
	})
	t.Run("the hall of fame takes clones", func(t *testing.T) {
		c := eaopt.NewDefaultGAConfig()
		c.NPops, c.PopSize, c.NGenerations, c.HofSize = 1, 10, 5, 5
		c.RNG = rand.New(rand.NewSource(1))
		c.Model = eaopt.ModGenerational{Selector: eaopt.SelElitism{}, CrossRate: 0, MutRate: 0}
		ga, err := c.NewGA()
		if err != nil {
			t.Fatal(err)
		}
		if err := ga.Minimize(func(rng *rand.Rand) eaopt.Genome { return &plain{rng.Float64()} }); err != nil {
			t.Fatal(err)
		}
		if ga.HallOfFame[0].Fitness != ga.HallOfFame[1].Fitness {
			t.Error("the best stands only once")
		}
	})
	t.Run("Minimize starts anew", func(t *testing.T) {
		c := eaopt.NewDefaultGAConfig()
		c.NPops, c.PopSize, c.NGenerations = 1, 4, 2
		ga, err := c.NewGA()
		if err != nil {
			t.Fatal(err)
		}
		drawn := 0
		draw := func(rng *rand.Rand) eaopt.Genome { drawn++; return &plain{rng.Float64()} }
		if err := errors.Join(ga.Minimize(draw), ga.Minimize(draw)); err != nil {
			t.Fatal(err)
		}
		if drawn != 8 || ga.Generations != 2 {
			t.Errorf("drawn %d, generations %d", drawn, ga.Generations)
		}
	})
}
