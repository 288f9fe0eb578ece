package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/experiments/ledger"
	"jird/population"
	"jird/snapshots/sexpr"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "print the data behind a decision", ArgsUsage: "RUN[/NUMBER]|AGENT[/NUMBER]", Flags: outputFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "RUN or AGENT"); err != nil {
				return err
			}
			run, number, err := decisionOf(c.Args().First())
			if err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				e, err := lab.Ledger.Explain(run, number)
				if err != nil {
					return err
				}
				return printExplanation(c, e)
			})
		},
	}
}

// decisionOf takes RUN/2 apart; without a number it is the last decision.
func decisionOf(arg string) (run string, number int, err error) {
	run, text, numbered := strings.Cut(arg, "/")
	if numbered {
		if number, err = strconv.Atoi(text); err != nil || number < 1 {
			return "", 0, usageError{fmt.Sprintf("%q is not a decision: it is a run or an agent, or one with /NUMBER from 1", arg)}
		}
	}
	return run, number, nil
}

func printExplanation(c *cli.Context, e *ledger.Explanation) error {
	tables := []table{{[]string{"declared before the data", ""}, declaredRows(e.Declared)}}
	if e.Decided == nil {
		return emit(c, e, tables, verdictLine(e))
	}
	tables = append(tables,
		table{[]string{"case", "incumbent", "winner", "difference"}, caseRows(e.Decided.Cases)},
		table{[]string{"look at", "incumbent", "winner", "saves", "bound", "p", "chance", ""}, lookRows(e.Decided)})
	return emit(c, e, tables,
		"saves and bound: of the score, by the winner; p: share of sign flips that save as much; chance: of saving so little, were the winner better by the effect",
		verdictLine(e))
}

// printDecision says how a decision ended; as JSON it is all that there is to explain.
func printDecision(c *cli.Context, e *ledger.Explanation) error {
	return emit(c, e, nil, verdictLine(e), fmt.Sprintf("the data behind it: jird explain %s/%d", e.Run, e.Number))
}

func verdictLine(e *ledger.Explanation) string {
	switch {
	case e.Decided == nil && e.Number == 1:
		return fmt.Sprintf("%s/%d: not decided yet; if it is a run: jird resume %s", e.Run, e.Number, e.Run)
	case e.Decided == nil:
		return fmt.Sprintf("%s/%d: not decided: it was interrupted; ask for it again", e.Run, e.Number)
	case e.Decided.Promoted:
		return fmt.Sprintf("%s/%d: promoted: %s", e.Run, e.Number, e.Decided.Reason)
	}
	return fmt.Sprintf("%s/%d: kept the incumbent: %s", e.Run, e.Number, e.Decided.Reason)
}

func declaredRows(d ledger.Declaration) [][]string {
	rows := [][]string{
		{"incumbent", sexpr.Layout(d.Incumbent)}, {"winner", sexpr.Layout(d.Winner)}, {"incumbent's image", d.IncumbentImage}, {"winner's image", d.WinnerImage},
		{"evaluator", d.Evaluator}, {"metric", d.Metric}, {"alpha, effect, power", fmt.Sprintf("%g, %g, %g", d.Alpha, d.Effect, d.Power)},
		{"looks at", fmt.Sprint(d.Looks)}, {"largest n", fmt.Sprint(d.MaxN)}, {"seed of cases, order, signs", fmt.Sprint(d.Seed)},
	}
	for _, name := range slices.Sorted(maps.Keys(d.Guardrails)) {
		rows = append(rows, []string{"guardrail " + name, d.Guardrails[name]})
	}
	return rows
}

func caseRows(cases []ledger.Compared) [][]string {
	var rows [][]string
	for _, o := range cases {
		difference := "none"
		if o.Incumbent.Status == population.OK && o.Winner.Status == population.OK {
			difference = score(o.Incumbent.Num/o.Incumbent.Den - o.Winner.Num/o.Winner.Den)
		}
		rows = append(rows, []string{o.Case, measuredText(o.Incumbent), measuredText(o.Winner), difference})
	}
	return rows
}

func measuredText(m ledger.Measured) string {
	if m.Status != population.OK {
		return strings.TrimSpace(string(m.Status) + " " + m.Detail)
	}
	return fmt.Sprintf("%g/%g", m.Num, m.Den)
}

func lookRows(d *ledger.Evidence) [][]string {
	var rows [][]string
	for _, l := range d.Looks {
		bound := "none"
		if l.Bound != nil {
			bound = score(*l.Bound)
		}
		rows = append(rows, []string{fmt.Sprint(l.N), score(l.Incumbent), score(l.Winner), score(l.Statistic), bound, fmt.Sprintf("%.2g", l.P), fmt.Sprintf("%.2g", l.Chance), string(l.Stop)})
	}
	return rows
}
