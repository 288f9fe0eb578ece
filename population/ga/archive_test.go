package ga

import (
	"fmt"
	"math"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"jird/population"
)

func TestCells(t *testing.T) {
	cfg := Config{Archive: []Feature{{"size", 0, 10, 5}, {"luck", -1, 1, 2}}} // the genome has size 3
	for _, c := range []struct {
		status     population.Status
		features   map[string]float64
		cell       int
		isArchived bool
	}{
		{population.OK, map[string]float64{"luck": -1}, 2, true},
		{population.OK, map[string]float64{"luck": -0.001}, 2, true},
		{population.OK, map[string]float64{"luck": 0}, 3, true},
		{population.OK, map[string]float64{"luck": 1}, 3, true}, // the upper bound and what is beyond
		{population.OK, map[string]float64{"luck": math.MaxFloat64}, 3, true},
		{population.OK, map[string]float64{"luck": -math.MaxFloat64}, 2, true},
		{population.OK, map[string]float64{"other": 1}, 0, false},
		{population.OK, nil, 0, false},
		{population.Crash, map[string]float64{"luck": 0}, 0, false},
	} {
		m := Member{Genome: on(grammar(t), 4), Outcome: population.Outcome{Status: c.status, Features: c.features, Scores: []population.Score{{Num: 1, Den: 1}}}}
		if cell, ok := cfg.cell(m); cell != c.cell && ok || ok != c.isArchived {
			t.Errorf("%s %v is in cell %d, %t; want %d, %t", c.status, c.features, cell, ok, c.cell, c.isArchived)
		}
	}
	wide := Config{Archive: []Feature{{"place", -100, 100, 200}}}
	for k := range 200 {
		m := Member{Outcome: population.Outcome{Status: population.OK, Features: map[string]float64{"place": float64(k - 100)}}}
		if cell, _ := wide.cell(m); cell != k {
			t.Errorf("%d is in cell %d", k-100, cell)
		}
	}
	steps := Config{Archive: []Feature{{"depth", 1, 3, 2}, {"steps", 0, 100, 10}}}
	m := Member{Genome: on(grammar(t), 4), Outcome: population.Outcome{Status: population.OK, Steps: 155, Scores: make([]population.Score, 5)}}
	if cell, _ := steps.cell(m); cell != 13 {
		t.Errorf("depth 2 and 31 steps per case are in cell %d, not 13", cell)
	}
}

// After every generation the archive holds, cell by cell, the best of all that were
// measured until then, of equals the smaller.
func TestArchiveKeepsTheBestOfEachCell(t *testing.T) {
	cfg := sourced(t)
	cfg.Archive = []Feature{{"size", 1, 30, 6}, {"luck", '0', 'g', 5}}
	var all []Member
	replaced := 0
	_, err := Run(t.Context(), cfg, nil, described(), nil, func(s *State, fresh []Member) (bool, error) {
		all = append(all, fresh...)
		best := make([]*Member, 30)
		for _, m := range all {
			if cell, ok := cfg.cell(m); ok && (best[cell] == nil || population.Compare(m.measured(), best[cell].measured()) < 0) {
				replaced += map[bool]int{true: 1}[best[cell] != nil]
				best[cell] = &m
			}
		}
		best = slices.DeleteFunc(best, func(m *Member) bool { return m == nil })
		if !slices.EqualFunc(best, s.Archive, func(a *Member, b Member) bool {
			return a.Genome.Hash() == b.Genome.Hash() && a.Op == b.Op && slices.Equal(a.Parents, b.Parents)
		}) {
			t.Errorf("generation %d: the archive of %d is not the best of %d cells", s.Generation, len(s.Archive), len(best))
		}
		return false, nil
	})
	if err != nil || replaced == 0 || len(all) < 300 {
		t.Errorf("%v; %d elites replaced, %d measured", err, replaced, len(all))
	}
}

// A trap: the target lies behind a slope, and all that is near the start leads back.
// The archive, whose elites only compete at their own place, crosses it, and faster where
// those are asked that stand apart; the plain loop, given more evaluations, does not.
func TestArchiveCrossesATrap(t *testing.T) {
	t.Parallel()
	const target = 25
	trap := heights(func(k int) float64 {
		if k >= target {
			return 0
		}
		return 1 + float64(k)
	})
	step := func(a Ask, _ Round) *population.Genome {
		rng := rand.New(rand.NewSource(int64(a.Seed >> 1)))
		k := max(0, placeOf(a.Parent.Genome)+1-2*rng.Intn(2))
		g, err := a.Parent.Genome.Grammar().Parse(fmt.Appendf(nil, "(define (f x) (+ (* 0. %d.) (+ x %d.)))", rng.Int31(), k)) // many genomes to a place
		if err != nil {
			t.Error(err)
		}
		return g
	}
	start := line(t, 0)
	for seed := range uint64(2) {
		plain := Config{
			Grammar: start.Grammar(), Seeds: []*population.Genome{start}, Seed: seed, Islands: 2, Population: 12, Generations: 100,
			Selection: Selection{Kind: "tournament", Size: 4}, Elites: 2, Best: 1, Sources: []Source{{Name: "step", Share: 1}},
		}
		archive := plain
		archive.Archive = []Feature{{"place", 0, 100, 100}}
		novelty := archive
		novelty.Selection.Kind = "novelty"
		spent := map[string]int{}
		for name, cfg := range map[string]Config{"plain": plain, "archive": archive, "novelty": novelty} {
			cfg.Proposer = &proposing{by: map[string]func(Ask, Round) *population.Genome{"step": step}}
			s, err := Run(t.Context(), cfg, nil, trap, nil, func(s *State, _ []Member) (bool, error) {
				return s.Best[0].Outcome.Fitness() == 0, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("seed %d: %s ends with %v in generation %d after %d evaluations", seed, name, s.Best[0].Outcome.Fitness(), s.Generation, s.Evaluations)
			if found := s.Best[0].Outcome.Fitness() == 0; found != (name != "plain") {
				t.Errorf("seed %d: %s found the target: %t", seed, name, found)
			}
			spent[name] = s.Evaluations
		}
		if spent["novelty"] >= spent["archive"] || spent["archive"] >= spent["plain"] {
			t.Errorf("seed %d: evaluations %v", seed, spent)
		}
	}
}

// The operators too make children of the archive.
func TestOperatorsVaryTheArchive(t *testing.T) {
	cfg := config(t)
	cfg.Archive = []Feature{{"size", 1, 40, 40}}
	states, _ := run(t, cfg, nil, nil, described())
	beyond := 0
	for i, s := range states[1:] {
		before := states[i]
		for _, m := range slices.Concat(s.Islands...) {
			if m.Op == "random" || m.Op == "elite" {
				continue
			}
			if !slices.ContainsFunc(before.Archive, func(p Member) bool { return p.Genome.Hash() == m.Parents[0] }) {
				t.Fatalf("generation %d: a parent that was not in the archive", s.Generation)
			}
			if !slices.ContainsFunc(slices.Concat(before.Islands...), func(p Member) bool { return p.Genome.Hash() == m.Parents[0] }) {
				beyond++
			}
		}
	}
	if beyond == 0 {
		t.Error("all parents were of the cohorts")
	}
}

func TestFeaturesMustBeFinite(t *testing.T) {
	eval := &altered{change: func(_ []*population.Genome, o []population.Outcome) []population.Outcome {
		o[0].Features = map[string]float64{"luck": math.NaN()}
		return o
	}}
	if _, err := Run(t.Context(), config(t), nil, eval, nil, nil); err == nil || !strings.Contains(err.Error(), "the feature luck of NaN") {
		t.Errorf("got %v", err)
	}
}
