package ga

import (
	"context"
	"testing"

	"jird/population"
)

// shifting scores by a target that moves with every batch.
type shifting struct{ batches, measured int }

func (s *shifting) Evaluate(_ context.Context, genomes []*population.Genome) ([]population.Outcome, error) {
	s.batches++
	outcomes := make([]population.Outcome, len(genomes))
	for i, g := range genomes {
		outcomes[i] = population.Outcome{Status: population.OK, Scores: []population.Score{{Num: float64(g.Size() + 1000*s.batches), Den: 1}}}
	}
	s.measured += len(genomes)
	return outcomes, nil
}

// Where scores move, what was measured before does not count: elites are measured again,
// and the hall of fame holds nobody whose score is of an earlier generation.
func TestMovingScores(t *testing.T) {
	cfg := Config{
		Grammar: grammar(t), Seed: 3, Islands: 2, Population: 8, Generations: 6, Elites: 2, Selection: Selection{Kind: "tournament", Size: 2},
		Operators: Operators{Crossover: 1, Point: 1}, Best: 3, Moving: true,
	}
	eval := &shifting{}
	last, err := Run(t.Context(), cfg, nil, eval, nil, func(s *State, _ []Member) (bool, error) {
		for _, island := range s.Islands {
			for _, m := range island {
				if got := m.Outcome.Scores[0].Num; int(got)/1000 != s.Generation+1 {
					t.Errorf("generation %d has a member with the score %v", s.Generation, got)
				}
			}
		}
		return false, nil
	})
	if err != nil || eval.batches != 7 || last.Evaluations != eval.measured {
		t.Fatalf("%d batches, %d of %d evaluations, %v", eval.batches, last.Evaluations, eval.measured, err)
	}
	for _, m := range last.Best {
		if int(m.Outcome.Scores[0].Num)/1000 != 7 {
			t.Errorf("the hall of fame holds %v", m.Outcome)
		}
	}
}
