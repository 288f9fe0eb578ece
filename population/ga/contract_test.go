package ga

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/MaxHalford/eaopt"

	"jird/population"
)

// altered passes on what regression answers, changed.
type altered struct {
	regression
	change func(genomes []*population.Genome, outcomes []population.Outcome) []population.Outcome
}

func (a *altered) Evaluate(ctx context.Context, genomes []*population.Genome) ([]population.Outcome, error) {
	outcomes, err := a.regression.Evaluate(ctx, genomes)
	return a.change(genomes, outcomes), err
}

func TestEvaluatorIsHeldToItsContract(t *testing.T) {
	type list = []population.Outcome
	for want, change := range map[string]func(_ []*population.Genome, o list) list{
		"outcomes for":      func(_ []*population.Genome, o list) list { return o[:len(o)-1] },
		"is not finite":     func(_ []*population.Genome, o list) list { o[0].Scores[0].Num = math.NaN(); return o },
		"scores, others":    func(_ []*population.Genome, o list) list { o[1].Scores = o[1].Scores[:1]; return o },
		"has no status":     func(_ []*population.Genome, o list) list { o[0] = population.Outcome{}; return o },
		"a finite fraction": func(_ []*population.Genome, o list) list { o[0].Scores[2].Den = 0; return o },
	} {
		_, err := Run(t.Context(), config(t), nil, &altered{change: change}, nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want an error that says %q", err, want)
		}
	}
}

// A candidate that fails is a measurement: the run goes on, and no failure
// stands among the best or the elites.
func TestFailuresAreOutcomes(t *testing.T) {
	crashes := &altered{change: func(genomes []*population.Genome, outcomes []population.Outcome) []population.Outcome {
		for i, g := range genomes {
			if g.Hash() > "8" {
				outcomes[i] = population.Outcome{Status: population.Crash, Detail: "signal 11"}
			}
		}
		return outcomes
	}}
	states, _ := run(t, config(t), nil, nil, crashes)
	crashed := 0
	for _, s := range states {
		for _, m := range s.Best {
			if m.Outcome.Status != population.OK {
				t.Fatalf("generation %d: a failure among the best", s.Generation)
			}
		}
		for _, m := range slices.Concat(s.Islands...) {
			if m.Outcome.Status == population.OK {
				continue
			}
			crashed++
			if m.Op == "elite" {
				t.Fatalf("generation %d: a failure was kept as elite", s.Generation)
			}
		}
	}
	if len(states) != config(t).Generations+1 || crashed == 0 {
		t.Errorf("%d states, %d failures", len(states), crashed)
	}
}

// A migration exchanges members at random places, so the parents arrive out of
// order; what is best overall must be carried over all the same.
func TestMigrationLosesNoneOfTheBest(t *testing.T) {
	for seed := range uint64(20) {
		cfg := config(t)
		cfg.Seed, cfg.MigrateEvery, cfg.Migrants, cfg.Population = seed, 1, 5, 20
		states, _ := run(t, cfg, nil, nil, &regression{})
		for i, s := range states[1:] {
			next := slices.Concat(s.Islands...)
			for _, m := range bestOf(slices.Concat(states[i].Islands...), cfg.Elites) {
				if !slices.ContainsFunc(next, func(n Member) bool { return slices.Equal(n.Outcome.Scores, m.Outcome.Scores) }) {
					t.Fatalf("seed %d: generation %d lost %s", seed, s.Generation, m.Genome.Expr())
				}
			}
		}
	}
}

func TestResumeOfARunThatIsOver(t *testing.T) {
	cfg := config(t)
	states, known := run(t, cfg, nil, nil, &regression{})
	last := states[len(states)-1]
	s, err := Run(t.Context(), cfg, last, &regression{}, known, func(*State, []Member) (bool, error) {
		t.Error("a generation was made")
		return true, nil
	})
	if err != nil || signature(s) != signature(last) {
		t.Errorf("%v, or another state", err)
	}
}

func TestResumeNeedsTheSameShape(t *testing.T) {
	cfg := config(t)
	states, known := run(t, cfg, nil, nil, &regression{})
	more, fewer := cfg, cfg
	more.Population++
	fewer.Islands--
	for _, other := range []Config{more, fewer} {
		if _, err := Run(t.Context(), other, states[3], &regression{}, known, nil); err == nil || !strings.Contains(err.Error(), "the configuration it began with") {
			t.Errorf("got %v", err)
		}
	}
}

// What each says is not lost behind a cancellation that came at the same time.
func TestErrorOfEachIsReturned(t *testing.T) {
	full := errors.New("the disk is full")
	for _, at := range []int{0, 2} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Run(ctx, config(t), nil, &regression{}, nil, func(s *State, _ []Member) (bool, error) {
			if s.Generation < at {
				return false, nil
			}
			cancel()
			return true, full
		})
		if !errors.Is(err, full) {
			t.Errorf("generation %d: got %v", at, err)
		}
	}
}

// waiting does not answer before its context is cancelled.
type waiting struct{ asked chan struct{} }

func (w waiting) Evaluate(ctx context.Context, _ []*population.Genome) ([]population.Outcome, error) {
	close(w.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestCancelWhileMeasuring(t *testing.T) {
	states, _ := run(t, config(t), nil, nil, &regression{})
	for _, from := range []*State{nil, states[2]} {
		ctx, cancel := context.WithCancel(t.Context())
		w := waiting{make(chan struct{})}
		go func() { <-w.asked; cancel() }()
		if _, err := Run(ctx, config(t), from, w, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

// A control inherits nothing: its genomes are random, or one step from a seed.
func TestControlsDoNotInherit(t *testing.T) {
	for _, control := range []Control{Random, BestOfN} {
		cfg := config(t)
		seed, err := cfg.Grammar.Parse([]byte("(* x (+ x 1))"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Control, cfg.Seeds = control, []*population.Genome{seed}
		states, _ := run(t, cfg, nil, nil, &regression{})
		varied := 0
		for _, s := range states {
			for i, cohort := range s.Islands {
				seeds := 0
				for _, m := range cohort {
					switch {
					case m.Op == "seed" && m.Genome.Hash() == seed.Hash():
						seeds++
					case m.Op == "random":
					case control == BestOfN && !slices.ContainsFunc(m.Parents, func(p string) bool { return p != seed.Hash() }):
						varied++
					default:
						t.Fatalf("%s: generation %d holds a %s of %v", control, s.Generation, m.Op, m.Parents)
					}
				}
				if want := map[bool]int{true: 1}[s.Generation == 0]; seeds != want {
					t.Errorf("%s: generation %d, island %d: %d seeds", control, s.Generation, i, seeds)
				}
			}
		}
		if (varied > 500) != (control == BestOfN) {
			t.Errorf("%s: %d variations of the seed", control, varied)
		}
	}
	cfg := config(t)
	cfg.Control = BestOfN
	if _, err := Run(t.Context(), cfg, nil, &regression{}, nil, nil); err == nil || !strings.Contains(err.Error(), "needs a seed") {
		t.Errorf("got %v", err)
	}
}

// A hall of fame that is not full is not filled up with failures, unless there is
// nothing else.
func TestBestHoldsFailuresOnlyAlone(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	ok := population.Outcome{Status: population.OK, Scores: []population.Score{{Num: 1, Den: 1}}}
	good := Member{Genome: grammar(t).Random(rng), Outcome: ok}
	bad := Member{Genome: grammar(t).Random(rng), Outcome: population.Outcome{Status: population.Crash}}
	if best := bestOf([]Member{bad, good}, 5); len(best) != 1 || best[0].Outcome.Status != population.OK {
		t.Errorf("%d of the best, not the good one alone", len(best))
	}
	if best := bestOf([]Member{bad}, 5); len(best) != 1 {
		t.Error("a run in which all fail has no best")
	}
}

// eaopt sees the fitness of the member that stands there now, never one of
// before, and no reason to measure again.
func TestPlaceSetsFitness(t *testing.T) {
	m := Member{Genome: grammar(t).Random(rand.New(rand.NewSource(1))), Outcome: population.Outcome{Status: population.OK, Scores: []population.Score{{Num: 3, Den: 4}}}}
	stale := eaopt.Individuals{{Genome: &individual{}, Fitness: 9}}
	place(stale, []Member{m})
	if stale[0].Fitness != 0.75 || !stale[0].Evaluated || stale[0].Genome.(*individual).member.Genome != m.Genome {
		t.Errorf("fitness %v, evaluated %t", stale[0].Fitness, stale[0].Evaluated)
	}
}

func TestDeriveSetsEveryPlaceApart(t *testing.T) {
	seen := map[int64]string{}
	for seed := range uint64(3) {
		for _, place := range []string{"cohort", "migrate"} {
			for island := range 4 {
				for generation := range 12 {
					at := fmt.Sprint(seed, place, island, generation)
					draw := Config{Seed: seed}.derive(place, island, generation).Int63()
					if other, taken := seen[draw]; taken {
						t.Errorf("%s and %s draw the same", at, other)
					}
					seen[draw] = at
				}
			}
		}
	}
}

// The islands of one generation are measured together, in island order, however
// they arrive; an error reaches all of them.
func TestBarrier(t *testing.T) {
	lost := errors.New("the store is gone")
	rounds := 0
	b := newBarrier(3, func(cohorts [][]Member) ([]Member, error) {
		rounds++
		for i, c := range cohorts {
			if len(c) != i+1 {
				t.Errorf("island %d has the cohort of another", i)
			}
		}
		if rounds == 2 {
			return nil, lost
		}
		return nil, nil
	})
	for _, want := range []error{nil, lost, nil} {
		var arrivals sync.WaitGroup
		for island := range 3 {
			arrivals.Go(func() {
				if err := b.meet(island, make([]Member, island+1)); !errors.Is(err, want) {
					t.Errorf("island %d: got %v, want %v", island, err, want)
				}
			})
		}
		arrivals.Wait()
	}
	if rounds != 3 {
		t.Errorf("measured %d times", rounds)
	}
}

// More of what eaopt v0.4.2 does, and why its selectors, models and evaluation
// are not used here.
func TestMoreDefectsOfEaoptAreThere(t *testing.T) {
	t.Run("a tournament names index 0 when the first contestant wins", func(t *testing.T) {
		wrong := 0
		for seed := range int64(50) {
			rng := rand.New(rand.NewSource(seed))
			var all eaopt.Individuals
			for v := range 10 {
				all = append(all, eaopt.Individual{Genome: &plain{float64(v)}, Fitness: float64(v), Evaluated: true})
			}
			winners, indexes, err := eaopt.SelTournament{NContestants: 3}.Apply(1, all, rng)
			if err != nil {
				t.Fatal(err)
			}
			if all[indexes[0]].Fitness != winners[0].Fitness {
				wrong++
			}
		}
		if wrong == 0 {
			t.Error("every index named its winner")
		}
	})
	t.Run("the steady-state model overwrites the best", func(t *testing.T) {
		lost := 0
		for seed := range int64(50) {
			rng := rand.New(rand.NewSource(seed))
			pop := &eaopt.Population{RNG: rng}
			for v := range 10 { // children are drawn from 0 to 1, never as good as -1
				pop.Individuals = append(pop.Individuals, eaopt.Individual{Genome: &plain{float64(v - 1)}, Fitness: float64(v - 1), Evaluated: true})
			}
			model := eaopt.ModSteadyState{Selector: eaopt.SelTournament{NContestants: 3}, CrossRate: 1}
			if err := model.Apply(pop); err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(pop.Individuals, func(in eaopt.Individual) bool { return in.Genome.(*plain).value == -1 }) {
				lost++
			}
		}
		if lost == 0 {
			t.Error("the best was never overwritten")
		}
	})
	t.Run("one error ends the evaluation of all", func(t *testing.T) {
		for _, parallel := range []bool{false, true} {
			all := eaopt.Individuals{{Genome: failing{}}, {Genome: &plain{1}}}
			if err := all.Evaluate(parallel); err == nil {
				t.Errorf("parallel %t: no error", parallel)
			}
			if !parallel && all[1].Evaluated {
				t.Error("the others were measured")
			}
		}
	})
}

type failing struct{}

func (failing) Evaluate() (float64, error)         { return 0, errors.New("it crashed") }
func (failing) Mutate(*rand.Rand)                  {}
func (failing) Crossover(eaopt.Genome, *rand.Rand) {}
func (f failing) Clone() eaopt.Genome              { return f }
