// Command study judges the packer as a stranger would: ten seeds for each class,
// each run within its budget, every winner scored on streams whose seeds are
// drawn from the system after the run ended, with random search at the same
// number of evaluations beside it.
//
// The best of N random policies by training score is what random search ends
// with, so one control stands for both.
package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"jird/experiments"
	"jird/orchestrator"
	"jird/sandbox"
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

func main() {
	sandbox.Stage()
	seeds := flag.Int("seeds", 10, "runs of each class")
	budget := flag.Duration("budget", 140*time.Second, "time of each search; choosing and judging the winner come after it")
	spec := flag.String("spec", "experiments/examples/packer/experiment.yaml", "the experiment")
	flag.Parse()
	if err := study(*seeds, *budget, *spec); err != nil {
		fmt.Fprintln(os.Stderr, "jird: study:", err)
		os.Exit(1)
	}
}

func study(seeds int, budget time.Duration, path string) error {
	for _, c := range classes {
		var searched, drawn, incumbent []float64
		for seed := range seeds {
			one, err := judge(c, uint64(seed+1), budget, path)
			if err != nil {
				return err
			}
			searched, drawn, incumbent = append(searched, one[0]), append(drawn, one[1]), append(incumbent, one[2])
		}
		fmt.Printf("%s: median of %d seeds: evolved %.3f %%, random search %.3f %%, best fit %.3f %%; goal %.2f %%\n",
			c.variant, seeds, 100*median(searched), 100*median(drawn), 100*median(incumbent), 100*c.goal)
	}
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// judge runs one seed and its control, each in a state folder of its own, and
// scores both winners and the incumbent on fresh streams.
func judge(c class, seed uint64, budget time.Duration, path string) (scores [3]float64, err error) {
	ctx := context.Background()
	s, err := experiments.Load(path, c.variant)
	if err != nil {
		return scores, err
	}
	s.Seed, s.Search.Budget = seed, budget
	winner, err := evolve(ctx, s)
	if err != nil {
		return scores, err
	}
	control := *s
	control.Search.Control, control.Search.Budget, control.Search.Evaluations = "random", 0, winner.Evaluations
	random, err := evolve(ctx, &control)
	if err != nil {
		return scores, err
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return scores, err
	}
	judging := binary.BigEndian.Uint64(b[:]) >> 2
	recipe, err := sexpr.Read([]byte(c.recipe))
	if err != nil {
		return scores, err
	}
	for i, expr := range []string{winner.Winner.Expr, random.Winner.Expr, winner.Incumbent.Expr} {
		err := withLab(func(lab *experiments.Lab) error {
			e, err := lab.Evaluate(ctx, s, []byte(expr), experiments.Drawn(c.streams, recipe, judging), experiments.Options{})
			if err == nil {
				scores[i] = e.Mean
			}
			return err
		})
		if err != nil {
			return scores, err
		}
	}
	fmt.Printf("%s seed %d: evolved %.3f %%, random search %.3f %%, best fit %.3f %% on %d streams of seed %d; %d evaluations, promoted %v (p = %.2g): %s\n",
		c.variant, seed, 100*scores[0], 100*scores[1], 100*scores[2], c.streams, judging, winner.Evaluations, winner.Promoted, winner.P, winner.Winner.Expr)
	return scores, nil
}

func evolve(ctx context.Context, s *experiments.Spec) (result *orchestrator.Result, err error) {
	err = withLab(func(lab *experiments.Lab) error {
		result, err = lab.Run(ctx, s, experiments.Options{})
		return err
	})
	return result, err
}

// withLab opens a state folder that starts empty: a run must not begin from the
// winner of another.
func withLab(f func(*experiments.Lab) error) error {
	home, err := os.MkdirTemp("", "jird-study-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	lab, err := experiments.OpenLab(home, func(string, ...any) {})
	if err != nil {
		return err
	}
	defer lab.Close()
	return f(lab)
}
