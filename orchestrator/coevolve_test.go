package orchestrator

import (
	"math"
	v1 "math/rand"
	"slices"
	"testing"
	"time"

	"jird/population"
	"jird/population/ga"
)

// shelf is a Rounds that keeps what it is told in memory.
type shelf struct {
	generations Generations
	entrants    []Entrant
	matches     []PlayedMatch
	rounds      int
}

func (s *shelf) BeginTournament(_ TournamentRecord, e []Entrant) error { s.entrants = e; return nil }
func (s *shelf) Evolved(_ string, states [2]*ga.State) error {
	s.generations = append(s.generations, states)
	return nil
}
func (s *shelf) Generations(string, []*population.Grammar) (Generations, error) {
	return s.generations, nil
}
func (s *shelf) Enter(_ string, e []Entrant) error {
	s.entrants = append(s.entrants, e...)
	return nil
}
func (s *shelf) Round(_ string, _ int, m []PlayedMatch) error {
	s.matches, s.rounds = append(s.matches, m...), s.rounds+1
	return nil
}
func (s *shelf) Played(string) ([]PlayedMatch, int, error) { return s.matches, s.rounds, nil }

// aims gives 10 points to a blue that answers 50, to a red that answers -20, and less to
// who misses.
const aims = `
(define (points aim x) (- 10. (min 10. (/ (abs (- x aim)) 10.))))
(define (match-play blue red seed) (cons (points 50. (blue 'f 7)) (points -20. (red 'f 7))))`

// twoSides are to get better at their aims, in fifteen generations.
func twoSides(t *testing.T) TournamentPlan {
	t.Helper()
	g := grammar(t)
	entrant := genomes(t, "x")[0]
	plan := TournamentPlan{
		SideNames: []string{"blue", "red"}, Grammars: []*population.Grammar{g, g}, Rank: ByPoints, Best: 10,
		Entrants: []Entrant{{Name: "a", Code: entrant}, {Name: "b", Side: 1, Code: entrant}},
	}
	search := ga.Config{
		Grammar: g, Islands: 2, Population: 30, Generations: 15, MigrateEvery: 4, Migrants: 2, Elites: 2, Best: 4, Moving: true,
		Selection: ga.Selection{Kind: "tournament", Size: 4}, Operators: ga.Operators{Crossover: 2, Subtree: 1, Point: 1, Constant: 3}, Seeds: []*population.Genome{entrant},
	}
	plan.Evolution = &Evolution{Search: [2]ga.Config{search, search}, Opponents: 4, Archive: 3, Seeds: 1, Finalists: 4}
	plan.Evolution.Search[1].Seed = 1
	return plan
}

// Each side gets better at what it is there for, whatever the other does, and the
// champions that enter the tournament are those of the end and of the way to it.
func TestEvolutionOfTwoSides(t *testing.T) {
	t.Parallel()
	p := openPool(t, aims, 20*time.Second, 1, 4)
	book := &shelf{}
	plan, err := twoSides(t).withFinalists(t.Context(), p, book, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(book.generations) != 16 || len(plan.Entrants) != 10 || len(book.entrants) != 8 || plan.Entrants[5].Name != "blue-15" || plan.Entrants[9].Name != "red-15" || !plan.Entrants[9].Finalist {
		t.Fatalf("%d generations, entrants %+v", len(book.generations), plan.Entrants)
	}
	for side := range 2 {
		missed := func(generation int) float64 { return book.generations[generation][side].Best[0].Outcome.Fitness() }
		if first, last := missed(0), missed(15); last > 0.5 || last > first || math.IsNaN(last) {
			t.Errorf("side %d missed %.3f in the first generation and %.3f in the last", side, first, last)
		}
		if n := len(book.generations[15][side].Best[0].Outcome.Scores); n < 4 || n > 7 {
			t.Errorf("side %d met %d opponents", side, n)
		}
	}
}

// As a control the second side is drawn: the first gets better against as many opponents
// as else, of whom no generation has those of another; the second has no champions.
func TestEvolutionAgainstDrawnOpponents(t *testing.T) {
	t.Parallel()
	p := openPool(t, aims, 20*time.Second, 1, 4)
	plan := twoSides(t)
	plan.Evolution.Drawn = true
	book := &shelf{}
	got, err := plan.withFinalists(t.Context(), p, book, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(book.generations) != 16 || len(got.Entrants) != 6 || len(book.entrants) != 4 || got.Entrants[5].Name != "blue-15" || got.Entrants[5].Side != 0 {
		t.Fatalf("%d generations, entrants %+v", len(book.generations), got.Entrants)
	}
	e := &evolving{TournamentPlan: plan}
	met := map[string]int{}
	for generation, states := range book.generations {
		blue, red := states[0], states[1]
		want := 4 + min(3, generation-1)
		if generation == 0 {
			want = 1 // the one entrant
		}
		if n := len(blue.Best[0].Outcome.Scores); n != want {
			t.Errorf("in generation %d there are %d opponents, not %d", generation, n, want)
		}
		if red.Generation != generation || len(red.Islands)+len(red.Best)+red.Evaluations > 0 {
			t.Errorf("red was evolved: %+v", red)
		}
		opponents := e.opponents(0, generation)
		if !slices.EqualFunc(opponents, e.opponents(0, generation), func(a, b *population.Genome) bool { return a.Hash() == b.Hash() }) {
			t.Error("not the same opponents again")
		}
		for _, g := range opponents {
			met[g.Hash()]++
		}
	}
	if len(met) < 60 { // of 96, some of a few nodes are drawn again
		t.Errorf("%d opponents in all", len(met))
	}
	if last := book.generations[15][0].Best[0].Outcome.Fitness(); last > 0.5 {
		t.Errorf("blue missed %.3f in the last generation", last)
	}
}

// Opponents are of the other side, each once: champions and others of the generation
// before, and earlier champions; the same for the same seed.
func TestOpponents(t *testing.T) {
	state := func(generation int, texts ...string) *ga.State {
		s := &ga.State{Generation: generation, Islands: [][]ga.Member{nil}}
		for _, g := range genomes(t, texts...) {
			s.Islands[0] = append(s.Islands[0], ga.Member{Genome: g})
		}
		s.Best = s.Islands[0][:2]
		return s
	}
	e := &evolving{TournamentPlan: TournamentPlan{Evolution: &Evolution{Opponents: 3, Archive: 2}}, history: Generations{
		{state(0, "1", "2", "3"), state(0, "x", "(+ x 1)", "(+ x 2)")},
		{state(1, "4", "5", "6"), state(1, "(+ x x)", "(+ x 3)", "(+ x 4)")},
		{state(2, "7", "7", "8", "9"), state(2, "(* x x)", "(* x 2)", "(* x 3)", "(* x 4)")},
	}}
	of := [2][]*population.Genome{e.opponents(0, 3), e.opponents(1, 3)}
	var blue, red []string
	for _, g := range of[0] {
		blue = append(blue, g.Expr())
	}
	for _, g := range of[1] {
		red = append(red, g.Expr())
	}
	if len(blue) != 5 || !slices.Equal(blue[:2], []string{"(* x x)", "(* x 2.)"}) || !slices.Contains(blue, "x") || !slices.Contains(blue, "(+ x x)") {
		t.Errorf("blue meets %v", blue)
	}
	slices.Sort(red)
	if !slices.Equal(red, []string{"1.", "4.", "7.", "8.", "9."}) {
		t.Errorf("red meets %v", red)
	}
	for range 3 {
		if !slices.Equal(e.opponents(0, 3), of[0]) || !slices.Equal(e.opponents(1, 3), of[1]) {
			t.Error("not the same opponents again")
		}
	}
}

// Opponents are cases: who beats one that nobody else beats, and loses to the rest, is
// drawn again and again by lexicase, and lost by the mean, though that opponent counts
// for more there.
func TestOpponentsAreCases(t *testing.T) {
	const opponents, specialist = 6, 3
	e := sideOf{&evolving{TournamentPlan: TournamentPlan{Rank: ByWins, Evolution: &Evolution{Seeds: 1}}}, 0}
	var results []MatchResult
	four := genomes(t, "x", "(+ x 1)", "(+ x 2)", "(* x 7)")
	for g := range four {
		for o := range opponents {
			r := MatchResult{Verdict: Played, Red: 1}
			if (g == specialist) == (o == opponents-1) && o != g { // each other loses one of the rest
				r.Blue, r.Red = 1, 0
			}
			results = append(results, r)
		}
	}
	var cohort []population.Measured
	for i, o := range e.shared(results, len(four), opponents) {
		cohort = append(cohort, population.Measured{Genome: four[i], Outcome: o})
	}
	for name, c := range map[string]struct {
		selected population.Selector
		survives bool
	}{
		"lexicase":         {population.Lexicase(cohort), true},
		"epsilon-lexicase": {population.EpsilonLexicase(cohort), true},
		"tournament":       {population.Tournament(cohort, 8), false},
	} {
		drawn := 0
		rng := v1.New(v1.NewSource(1))
		for range 600 {
			if c.selected(rng) == specialist {
				drawn++
			}
		}
		// Its one case comes first in one order of six.
		if c.survives && (drawn < 70 || drawn > 130) || !c.survives && drawn > 0 {
			t.Errorf("%s draws the specialist %d times of 600", name, drawn)
		}
	}
}
