package main

import (
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"jird/experiments"
)

func replayCommand() *cli.Command {
	return &cli.Command{
		Name: "replay", Usage: "measure a genome of a run, or play a match of a tournament, again, and compare with what was recorded",
		ArgsUsage:   "RUN GENOME | TOURNAMENT MATCH",
		Description: "GENOME is winner, incumbent, or the first digits of a hash; MATCH is a number from 0, and is printed move by move.\nEnds with status 8 if anything differs, after saying why it may.",
		Flags:       append(outputFlags(), workersFlag(), isolationFlag()),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "RUN", "GENOME or MATCH"); err != nil {
				return err
			}
			o, err := options(c)
			if err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				if lab.IsTournament(c.Args().First()) {
					return replayMatch(c, lab, o)
				}
				r, err := lab.ReplayGenome(c.Context, c.Args().First(), c.Args().Get(1), o)
				if err != nil {
					return err
				}
				return printGenome(c, r)
			})
		},
	}
}

func replayMatch(c *cli.Context, lab *experiments.Lab, o experiments.Options) error {
	number, err := strconv.Atoi(c.Args().Get(1))
	if err != nil {
		return usageError{fmt.Sprintf("%q is not a match: they are numbered from 0", c.Args().Get(1))}
	}
	r, err := lab.ReplayMatch(c.Context, c.Args().First(), number, o)
	if err != nil {
		return err
	}
	t := table{header: []string{"", "noted"}}
	for i, note := range r.Notes {
		t.rows = append(t.rows, []string{strconv.Itoa(i + 1), note})
	}
	verdict := "the same as recorded"
	if !r.Same {
		verdict = fmt.Sprintf("NOT as recorded: %s, blue %g, red %g", r.Recorded.Verdict, r.Recorded.Blue, r.Recorded.Red)
	}
	line := fmt.Sprintf("match %d: %s, %s (blue) %g, %s (red) %g; %s", r.Number, r.Again.Verdict, r.Blue, r.Again.Blue, r.Red, r.Again.Red, verdict)
	return differing(r.Same, emit(c, r, []table{t}, append([]string{line}, may(r.Causes)...)...))
}

// differing is the status of a replay that was printed.
func differing(same bool, err error) error {
	if err == nil && !same {
		return errAsserted
	}
	return err
}

// may are the causes of a difference, as lines.
func may(causes []string) (lines []string) {
	for _, cause := range causes {
		lines = append(lines, "why it may be: "+cause)
	}
	return lines
}

// differingCases is the most cases of a set that a table shows; JSON has them all.
const differingCases = 20

func printGenome(c *cli.Context, r *experiments.ReplayedGenome) error {
	sets := table{header: []string{"set", "cases", "recorded", "again", ""}}
	cases := table{header: []string{"set", "case", "recorded", "again"}}
	for _, s := range r.Sets {
		verdict := "the same"
		if !s.Same {
			verdict = "DIFFERS"
		}
		sets.rows = append(sets.rows, []string{s.Set, fmt.Sprint(s.Count), replayed(s.Recorded), replayed(s.Again), verdict})
		for i, d := range s.Differing {
			if i == differingCases {
				cases.rows = append(cases.rows, []string{s.Set, fmt.Sprintf("%d more", len(s.Differing)-i), "", ""})
				break
			}
			cases.rows = append(cases.rows, []string{s.Set, d.Case, scoreOr(d.Recorded), scoreOr(d.Again)})
		}
	}
	tables := []table{sets}
	if len(cases.rows) > 0 {
		tables = append(tables, cases)
	}
	verdict := "the same as recorded, on every case"
	if !r.Same {
		verdict = "NOT as recorded"
	}
	lines := append([]string{r.Expr, fmt.Sprintf("%s, genome %.12s: %s", r.Run, r.Genome, verdict)}, may(r.Causes)...)
	return differing(r.Same, emit(c, r, tables, lines...))
}

func replayed(r experiments.ReplayedResult) string {
	if r.Score == nil {
		return fmt.Sprintf("%s %s, %d steps", r.Status, r.Detail, r.Steps)
	}
	return fmt.Sprintf("%.17g, %d steps", *r.Score, r.Steps)
}

func scoreOr(score *float64) string {
	if score == nil {
		return "none"
	}
	return fmt.Sprintf("%.17g", *score)
}
