package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/orchestrator"
)

func casesFlag() cli.Flag {
	return &cli.IntFlag{Name: "cases", Usage: "unseen cases that all winners are scored on", DefaultText: "as many as the experiment holds out"}
}

func compareCommand() *cli.Command {
	return &cli.Command{
		Name: "compare", Usage: "score the winners of runs on cases that none has seen, and say what differs", ArgsUsage: "RUN RUN...",
		Flags: append(outputFlags(), workersFlag(), isolationFlag(), casesFlag(), quietFlag(), assertFlag()),
		Action: func(c *cli.Context) error {
			if c.NArg() < 2 {
				return usageError{"jird compare takes two runs or more; see jird compare --help"}
			}
			o, err := options(c)
			if err != nil {
				return err
			}
			return comparing(c, o, func(*experiments.Lab) ([]string, error) { return c.Args().Slice(), nil })
		},
	}
}

// comparing compares the runs that are given it, once all that was asked is known to make
// sense.
func comparing(c *cli.Context, o experiments.Options, runs func(*experiments.Lab) ([]string, error)) error {
	if c.IsSet("cases") && c.Int("cases") < 1 {
		return usageError{"--cases must be 1 or more"}
	}
	assertions, err := assertions(c)
	if err != nil {
		return err
	}
	return withLab(c, func(lab *experiments.Lab) error {
		ids, err := runs(lab)
		if err != nil {
			return err
		}
		found, err := lab.Compare(c.Context, ids, c.Int("cases"), o)
		if err != nil {
			return err
		}
		if err := printComparison(c, found); err != nil {
			return err
		}
		return asserted(assertions, found.Numbers())
	})
}

func printComparison(c *cli.Context, f *experiments.Comparison) error {
	groups := table{header: []string{"group", "runs", "mean score", "by seed"}}
	for _, g := range f.Groups {
		seeds := ""
		for i, seed := range g.Seeds {
			seeds += fmt.Sprintf("%d: %.4g  ", seed, g.Scores[i])
		}
		groups.rows = append(groups.rows, []string{g.Name, fmt.Sprint(len(g.Runs)), fmt.Sprintf("%.4g", g.Mean), seeds})
	}
	groups.rows = append(groups.rows, []string{"incumbent", "", fmt.Sprintf("%.4g", f.Incumbent), ""})
	pairs := table{header: []string{"first", "second", "difference", "95 %", "first is better", "p", "corrected", ""}}
	for _, b := range f.Contrasts {
		between, kind := "-", "unpaired"
		if b.Interval != nil {
			between = fmt.Sprintf("%.4g to %.4g", b.Interval[0], b.Interval[1])
		}
		if b.Paired {
			kind = "by seed"
		}
		pairs.rows = append(pairs.rows, []string{
			b.First, b.Second, fmt.Sprintf("%.4g", b.Difference), between, fmt.Sprintf("%.0f %%", 100*b.Better), fmt.Sprintf("%.2g", b.P), fmt.Sprintf("%.2g", b.Adjusted), kind,
		})
	}
	answer := f.Answer
	if f.Question != "" {
		answer = f.Question + "\n" + answer
	}
	return emitUnder(c, f, answer, []table{groups, pairs}, fmt.Sprintf("%d cases of seed %d, which no run has seen; scores are means over them, lower is better", f.Cases, f.Seed))
}

// runMatrix carries out the experiment's matrix and compares its runs.
func runMatrix(c *cli.Context, s *experiments.Spec, o experiments.Options) error {
	for _, name := range []string{"seed", "generations", "budget", "evaluations", "steps", "control", "runtime", "variant"} {
		if c.IsSet(name) {
			return usageError{fmt.Sprintf("--%s and --matrix do not go together; the experiment's file says what its runs are", name)}
		}
	}
	return comparing(c, o, func(lab *experiments.Lab) ([]string, error) {
		if c.Bool("quiet") {
			return lab.RunMatrix(c.Context, c.Args().First(), s.Matrix, o, func(experiments.Cell, experiments.Search) {})
		}
		show := matrixProgress(&o)
		defer func() { show.end() }()
		return lab.RunMatrix(c.Context, c.Args().First(), s.Matrix, o, show.next)
	})
}

// cells shows the runs of a matrix, one after the other.
type cells struct {
	began time.Time
	event func(orchestrator.Event)
	end   func()
}

func matrixProgress(o *experiments.Options) *cells {
	s := &cells{began: time.Now(), end: func() {}}
	o.Events = func(e orchestrator.Event) { s.event(e) }
	return s
}

func (s *cells) next(cell experiments.Cell, search experiments.Search) {
	s.end()
	left := ""
	if done := cell.Number - 1; done > 0 {
		each := time.Since(s.began) / time.Duration(done)
		left = fmt.Sprintf(", about %v left", (each * time.Duration(cell.Of-done)).Round(time.Second))
	}
	say("run %v%s", cell, left)
	s.event, s.end = progress(search)
}
