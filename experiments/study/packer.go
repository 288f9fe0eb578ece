package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"jird/experiments"
	"jird/orchestrator"
	"jird/population/ga"
	"jird/snapshots/sexpr"
)

// class is one variant with the streams that judge it.
type class struct {
	variant string
	streams int
	recipe  string
	goal    float64
}

var classes = []class{
	{"or", 20, `((class . "u") (capacity . 150) (low . 20) (high . 100) (items . 500))`, 0.0325},
	{"weibull", 5, `((class . "weibull") (capacity . 100) (items . 5000))`, 0.0085},
}

// judged is one policy with its score on the judging streams.
type judged struct {
	name   string
	result *orchestrator.Result // nil for best fit
	took   time.Duration
	score  float64
}

// packer has each class searched from some seeds, every winner scored on streams whose
// seeds are drawn from the system once its run has ended, beside two controls at the same
// number of evaluations: random search, and the best of as many single variations of best
// fit.
func packer(o options) error {
	for _, c := range classes {
		if o.variant != "" && o.variant != c.variant {
			continue
		}
		if err := study(c, o); err != nil {
			return err
		}
	}
	return nil
}

func study(c class, o options) error {
	scores, promoted := map[string][]float64{}, 0
	for seed := o.first; seed < o.first+uint64(o.seeds); seed++ {
		controls := []ga.Control{ga.Evolve}
		if seed < o.first+uint64(o.controls) {
			controls = append(controls, ga.Random, ga.BestOfN)
		}
		all, err := one(c, seed, o.evaluations, controls)
		if err != nil {
			return err
		}
		if len(controls) > 1 {
			scores["evolved first"] = append(scores["evolved first"], all[0].score)
		}
		for _, j := range all {
			scores[j.name] = append(scores[j.name], j.score)
		}
		if all[0].result.Promoted {
			promoted++
		}
	}
	fmt.Printf("%s: median of %d seeds: evolved %.3f %% (goal %.2f %%), best fit %.3f %%; promoted %d\n",
		c.variant, o.seeds, 100*median(scores["evolved"]), 100*c.goal, 100*median(scores["best fit"]), promoted)
	if n := len(scores["random"]); n > 0 {
		fmt.Printf("%s: median of the first %d: evolved %.3f %%, random search %.3f %%, best of n %.3f %%\n",
			c.variant, n, 100*median(slices.Clone(scores["evolved first"])), 100*median(scores["random"]), 100*median(scores["best-of-n"]))
	}
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// one runs one seed and its controls, each in a state folder of its own, then draws
// the judging streams and scores all winners and the incumbent on them.
func one(c class, seed uint64, evaluations int, controls []ga.Control) ([]judged, error) {
	ctx := context.Background()
	s, err := experiments.Load("experiments/examples/packer/experiment.yaml", c.variant)
	if err != nil {
		return nil, err
	}
	s.Seed, s.Search.Budget, s.Search.Evaluations = seed, 0, evaluations
	var all []judged
	for _, control := range controls {
		j := judged{name: "evolved"}
		if control != ga.Evolve {
			s.Search.Control, j.name = string(control), string(control)
		}
		began := time.Now()
		err := withLab(func(lab *experiments.Lab) error {
			j.result, err = lab.Run(ctx, s, experiments.Options{})
			return err
		})
		if err != nil {
			return nil, err
		}
		j.took = time.Since(began)
		all = append(all, j)
	}
	all = append(all, judged{name: "best fit"})
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	judging := binary.BigEndian.Uint64(b[:]) >> 2
	for i := range all {
		if err := all[i].judge(ctx, s, c, judging, all[0].result.Incumbent.Expr); err != nil {
			return nil, err
		}
	}
	fmt.Printf("%s seed %d, judged on %d streams of seed %d:\n", c.variant, seed, c.streams, judging)
	for _, j := range all {
		if j.result == nil {
			fmt.Printf("  %-9s %.3f %%\n", j.name, 100*j.score)
			continue
		}
		fmt.Printf("  %-9s %.3f %%  %d evaluations in %v, promoted %v (p = %.2g): %s\n",
			j.name, 100*j.score, j.result.Evaluations, j.took.Round(time.Second), j.result.Promoted, j.result.P, j.result.Winner.Expr)
	}
	return all, nil
}

func (j *judged) judge(ctx context.Context, s *experiments.Spec, c class, seed uint64, incumbent string) error {
	recipe, err := sexpr.Read([]byte(c.recipe))
	if err != nil {
		return err
	}
	expr := incumbent
	if j.result != nil {
		expr = j.result.Winner.Expr
	}
	return withLab(func(lab *experiments.Lab) error {
		e, err := lab.Evaluate(ctx, s, []byte(expr), experiments.Drawn(c.streams, recipe, seed), experiments.Options{})
		if err == nil {
			j.score = e.Mean
		}
		return err
	})
}
