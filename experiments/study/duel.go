package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"jird/experiments"
	"jird/experiments/examples"
	"jird/orchestrator"
)

// duel is the study of a coevolution. Its control draws the other side at random instead
// of evolving it. Both play as many matches in all: an evolved side plays as many as the
// side that it is evolved against, so the control has twice the generations.
type duel struct {
	example, spec string
	unit          string
	of            func(points float64) float64 // what the champion's mean against the held-out says
}

var duels = map[string]duel{
	"sortnet": {"sortnet", "tournament.yaml", "comparators", comparators(0)},
	"sixteen": {"sortnet", "sixteen.yaml", "comparators", comparators(32)},
	"duel":    {"packer-duel", "tournament.yaml", "points", func(p float64) float64 { return p }},
	"dilemma": {"dilemma", "coevolve.yaml", "points", func(p float64) float64 { return p }},
}

// comparators is the size of a network of which some are given, by its points against the
// proof: 1 less 0.0003 for each of its own, 0 if it does not sort.
func comparators(given int) func(float64) float64 {
	return func(points float64) float64 {
		if points == 0 {
			return math.Inf(1)
		}
		return float64(given) + math.Round((1-points)/0.0003)
	}
}

func (d duel) study(name string, o options) error {
	var evolved, drawn []float64
	for seed := o.first; seed < o.first+uint64(o.seeds); seed++ {
		v, err := d.one(name, seed, false)
		if err != nil {
			return err
		}
		evolved = append(evolved, v)
		if seed >= o.first+uint64(o.controls) {
			continue
		}
		if v, err = d.one(name, seed, true); err != nil {
			return err
		}
		drawn = append(drawn, v)
	}
	fmt.Printf("%s: against whom the champion never met, medians over seeds with 95 %% intervals: evolved %s", name, spread(evolved))
	if len(drawn) > 0 {
		fmt.Printf(", control %s", spread(drawn))
	}
	fmt.Printf(" %s\n", d.unit)
	return nil
}

// one is what the champion of a seed comes to.
func (d duel) one(name string, seed uint64, control bool) (value float64, err error) {
	dir, err := os.MkdirTemp("", "jird-study-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := examples.Write(d.example, dir); err != nil {
		return 0, err
	}
	s, err := experiments.LoadTournament(filepath.Join(dir, d.spec))
	if err != nil {
		return 0, err
	}
	kind := "evolved"
	if s.Seed = seed; control {
		kind = "control"
		s.Evolve.Drawn = true
		s.Evolve.Search.Generations *= 2
	}
	began := time.Now()
	err = withLab(func(lab *experiments.Lab) error {
		st, err := lab.Tournament(context.Background(), s, experiments.Options{}, func(string, int, int) {})
		if err != nil {
			return err
		}
		value = d.of(st.Generality[0].Mean)
		fmt.Printf("%s seed %d, %s: %.4g %s, %v in %v: %s\n", name, seed, kind, value, d.unit, promoted(st), time.Since(began).Round(time.Second), st.Champion.Expr)
		return nil
	})
	return value, err
}

func promoted(s *orchestrator.Standings) string {
	if s.Promoted != nil && *s.Promoted {
		return "promoted"
	}
	return "not promoted"
}

// resamples of an interval.
const resamples = 10_000

// spread is a median over seeds with its 95 % interval (percentile bootstrap: Efron and
// Tibshirani 1993, An Introduction to the Bootstrap, 13.3).
func spread(values []float64) string {
	rng := rand.New(rand.NewPCG(1, 1))
	medians := make([]float64, resamples)
	for i := range medians {
		again := make([]float64, len(values))
		for k := range again {
			again[k] = values[rng.IntN(len(values))]
		}
		medians[i] = median(again)
	}
	slices.Sort(medians)
	return fmt.Sprintf("%.4g (%.4g to %.4g)", median(slices.Clone(values)), medians[resamples/40], medians[resamples-1-resamples/40])
}
