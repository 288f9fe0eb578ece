package population

import (
	"math"
	"math/rand"
	"slices"
	"testing"
)

// scored makes a cohort of distinct genomes with these scores; a nil failed.
func scored(t testing.TB, all ...[]float64) []Measured {
	t.Helper()
	g, rng := packerGrammar(t), rand.New(rand.NewSource(1))
	seen := map[string]bool{}
	var cohort []Measured
	for _, values := range all {
		m := Measured{g.Random(rng), Outcome{Status: Crash}}
		for seen[m.Genome.Hash()] {
			m.Genome = g.Random(rng)
		}
		seen[m.Genome.Hash()] = true
		for _, v := range values {
			m.Outcome.Status = OK
			m.Outcome.Scores = append(m.Outcome.Scores, Score{v, 1})
		}
		cohort = append(cohort, m)
	}
	return cohort
}

// times counts how often each was chosen.
func times(s Selector, of, draws int) []int {
	counts, rng := make([]int, of), rand.New(rand.NewSource(2))
	for range draws {
		counts[s(rng)]++
	}
	return counts
}

func TestNoveltyChoosesWhatStandsApart(t *testing.T) {
	// The worst stands apart; its case is of another order of magnitude than the first.
	crowd := [][]float64{{0, 5000}, {0.1, 5000}, {0.2, 5001}, nil, {0.1, 9000}, nil}
	counts := times(Novelty(scored(t, crowd...), nil, 8), len(crowd), 1000)
	if counts[4] < 850 || counts[3]+counts[5] > 0 {
		t.Errorf("drawn %v: want mostly the fifth, and no failure", counts)
	}
	// With the other case's range 1000 times as large the same genome is as far away:
	// each case counts by its own range.
	for _, v := range crowd {
		if v != nil {
			v[0] *= 1000
		}
	}
	if again := times(Novelty(scored(t, crowd...), nil, 8), len(crowd), 1000); !slices.Equal(again, counts) {
		t.Errorf("drawn %v, and %v with a case in another unit", counts, again)
	}
	// What many others are near to is not novel, though they are not to be drawn.
	cohort := scored(t, []float64{0}, []float64{1}, []float64{2}, []float64{50}, []float64{100})
	others := scored(t, []float64{99}, []float64{98}, []float64{97}, []float64{96}, []float64{101}, []float64{102}, []float64{100})
	for i := range others {
		others[i].Genome = packerGrammar(t).Random(rand.New(rand.NewSource(int64(100 + i))))
	}
	alone := times(Novelty(cohort, nil, 20), 5, 200)
	beside := times(Novelty(cohort, others, 20), 5, 200)
	if alone[4] < 180 || beside[4] > 20 {
		t.Errorf("the last is drawn %d times alone, %d times of 200 beside its like", alone[4], beside[4])
	}
}

// A genome that stands in the cohort twice, or in the archive too, is not its own
// neighbour.
func TestNoveltyCountsAGenomeOnce(t *testing.T) {
	cohort := scored(t, []float64{0}, []float64{1}, []float64{9})
	copies := slices.Repeat(cohort[2:], 30)
	if counts := times(Novelty(append(cohort, copies...), copies, 100), len(cohort)+len(copies), 300); counts[0]+counts[1] > 0 {
		t.Errorf("drawn %v", counts)
	}
}

func TestNoveltyOfExtremes(t *testing.T) {
	huge := scored(t, []float64{math.MaxFloat64, 1}, []float64{-math.MaxFloat64, 1}, []float64{0, 1}, []float64{0, 1})
	if counts := times(Novelty(huge, nil, 20), 4, 300); counts[2]+counts[3] > 0 {
		t.Errorf("drawn %v: a range beyond the largest number is still a range", counts)
	}
	failed := scored(t, nil, nil)
	if counts := times(Novelty(failed, nil, 3), 2, 300); counts[0] == 0 || counts[1] == 0 {
		t.Errorf("of failures alone drawn %v", counts)
	}
	if counts := times(Novelty(scored(t, []float64{1}), nil, 3), 1, 10); counts[0] != 10 {
		t.Error("one alone is not drawn")
	}
}

func BenchmarkNovelty(b *testing.B) {
	rng := rand.New(rand.NewSource(1))
	all := make([][]float64, 300)
	for i := range all {
		for range 10 {
			all[i] = append(all[i], rng.Float64())
		}
	}
	cohort := scored(b, all...)
	for b.Loop() {
		s := Novelty(cohort, nil, 5)
		for range cohort {
			s(rng)
		}
	}
}
