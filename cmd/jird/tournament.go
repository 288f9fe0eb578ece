package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/orchestrator"
)

func tournamentCommand() *cli.Command {
	return &cli.Command{
		Name: "tournament", Usage: "have entrants play each other, and say how sure their ranks are", ArgsUsage: "TOURNAMENT.yaml",
		Flags: append(workFlags(),
			&cli.Uint64Flag{Name: "seed", Usage: "seed of all matches", DefaultText: asSpec},
			&cli.IntFlag{Name: "seeds", Usage: "rounds: matches of every two entrants, or by Swiss of each entrant", DefaultText: asSpec},
			assertFlag(),
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "TOURNAMENT.yaml"); err != nil {
				return err
			}
			s, err := experiments.LoadTournament(c.Args().First())
			if err != nil {
				return err
			}
			if c.IsSet("seed") {
				s.Seed = c.Uint64("seed")
			}
			if c.IsSet("seeds") {
				if s.Seeds = c.Int("seeds"); s.Seeds < 1 {
					return usageError{"--seeds must be 1 or more"}
				}
				if s.Swiss && s.Seeds < experiments.LeastSwiss {
					return usageError{fmt.Sprintf("--seeds must be %d or more with pairing swiss", experiments.LeastSwiss)}
				}
			}
			return played(c, func(lab *experiments.Lab, o experiments.Options, after func(string, int, int)) (*orchestrator.Standings, error) {
				return lab.Tournament(c.Context, s, o, after)
			})
		},
	}
}

func assertFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "assert", Usage: "end with status 8 unless this holds of the result, such as \"champion.mean > 2.5 and matches = 2400\"; may be said again"}
}

// played plays or goes on with a tournament, and prints and asserts how it ended.
func played(c *cli.Context, do func(*experiments.Lab, experiments.Options, func(string, int, int)) (*orchestrator.Standings, error)) error {
	o, err := options(c)
	if err != nil {
		return err
	}
	assertions, err := assertions(c)
	if err != nil {
		return err
	}
	return withLab(c, func(lab *experiments.Lab) error {
		after := func(string, int, int) {}
		if !c.Bool("quiet") {
			o.Events, after = lines(experiments.Search{}), rounds()
		}
		s, err := do(lab, o, after)
		if err != nil {
			return err
		}
		if err := printStandings(c, s); err != nil {
			return err
		}
		return asserted(assertions, s.Numbers())
	})
}

// assertions reads what is asserted, before anything is done for it.
func assertions(c *cli.Context) (all []*experiments.Assertion, err error) {
	for _, text := range c.StringSlice("assert") {
		a, err := experiments.ParseAssertion(text)
		if err != nil {
			return nil, misasserted(err)
		}
		all = append(all, a)
	}
	return all, nil
}

func misasserted(err error) error { return usageError{"--assert is wrong:\n" + err.Error()} }

// asserted is an errAsserted that says what does not hold.
func asserted(assertions []*experiments.Assertion, numbers map[string]float64) error {
	held := true
	for _, a := range assertions {
		failed, err := a.Failed(numbers)
		if err != nil {
			return misasserted(err)
		}
		for _, f := range failed {
			held = false
			say("%s", f)
		}
	}
	if !held {
		return errAsserted
	}
	return nil
}

func printStandings(c *cli.Context, s *orchestrator.Standings) error {
	t := table{header: []string{"entrant", "side", "rank", "mean", "won:drawn:lost", "rating", "alpha", "policy"}}
	for _, e := range s.Standings {
		t.rows = append(t.rows, []string{
			e.Name, e.Side, span("%g", e.Rank, e.Ranks), span("%.4g", e.Mean, e.Means),
			fmt.Sprintf("%d:%d:%d", e.Wins, e.Draws, e.Losses), fmt.Sprintf("%.0f ± %.0f", e.Rating, 1.96*e.RD), mass(e.Alpha), e.Expr,
		})
	}
	if len(s.Champions) == 1 {
		t = t.without(1)
	}
	var lines []string
	for _, g := range s.Generality {
		lines = append(lines, fmt.Sprintf("%s %s against %d it had never met: mean %.4g, win rate %.3f in %d matches", g.Side, g.Champion, g.Opponents, g.Mean, g.WinRate, g.Matches))
	}
	if s.Promoted != nil {
		lines = append(lines, fmt.Sprintf("%s: %s: %s", s.Judged, map[bool]string{true: "promoted", false: "not promoted"}[*s.Promoted], s.Reason))
	}
	for _, w := range s.Warnings {
		lines = append(lines, "warning: "+w)
	}
	lines = append(lines, fmt.Sprintf("%s: champion %s by %s, mean %.4g in %d rounds; %d matches, %d forfeits", s.Run, s.Champion.Name, s.Rank, s.Champion.Mean, s.Rounds, s.Matches, s.Forfeits))
	return emit(c, s, []table{t}, lines...)
}

// mass is an alpha-rank, or that there is none.
func mass(alpha *float64) string {
	if alpha == nil {
		return "-"
	}
	return fmt.Sprintf("%.3f", *alpha)
}

// span is a value, with what it may be.
func span(format string, value float64, of [2]float64) string {
	text := fmt.Sprintf(format, value)
	low, high := fmt.Sprintf(format, of[0]), fmt.Sprintf(format, of[1])
	if low == high {
		return text
	}
	return text + " (" + low + "-" + high + ")"
}
