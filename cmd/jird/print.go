package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/olekukonko/tablewriter"
	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/experiments/ledger"
	"jird/orchestrator"
)

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Value: "table", Usage: "table or json", Action: func(_ *cli.Context, v string) error {
		if v != "table" && v != "json" {
			return usageError{"--output must be table or json"}
		}
		return nil
	}}
}

// emit prints a result as JSON, or as the table that rows gives.
func emit(c *cli.Context, v any, header []string, rows [][]string) error {
	if c.String("output") == "json" {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(os.Stdout, "%s\n", b)
		return err
	}
	t := tablewriter.NewWriter(os.Stdout)
	t.Header(header)
	if err := t.Bulk(rows); err != nil {
		return err
	}
	return t.Render()
}

func percent(f float64) string { return fmt.Sprintf("%.3f %%", 100*f) }

func printResult(c *cli.Context, r *orchestrator.Result) error {
	if c.String("output") != "json" && r.Interrupted {
		say("%s", r.Reason)
		return nil
	}
	if err := emit(c, r, []string{"", "train", "holdout", "policy"}, [][]string{
		{"incumbent", percent(r.Incumbent.Train), percent(r.Incumbent.Holdout), r.Incumbent.Expr},
		{"winner", percent(r.Winner.Train), percent(r.Winner.Holdout), r.Winner.Expr},
	}); err != nil {
		return err
	}
	if c.String("output") == "json" {
		return nil
	}
	verdict := "kept the incumbent: "
	if r.Promoted {
		verdict = "promoted: "
	}
	_, err := fmt.Printf("%s: %s%s\n%d evaluations in %d generations, stopped by %s; %d shadows scored at once (%s, isolation %s, %s)\n",
		r.Run, verdict, r.Reason, r.Evaluations, r.Generations, r.Stop, r.ShadowsPeak, r.Engine, r.Isolation, r.Runtime)
	return err
}

func printEvaluation(c *cli.Context, e *experiments.Evaluation) error {
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(e.Scores)) {
		rows = append(rows, []string{name, percent(e.Scores[name])})
	}
	rows = append(rows, []string{"mean", percent(e.Mean)})
	return emit(c, e, []string{"case", "score"}, rows)
}

func printRuns(c *cli.Context, runs []ledger.Info) error {
	var rows [][]string
	for _, r := range runs {
		verdict := "undecided"
		if r.Promoted != nil {
			verdict = map[bool]string{true: "promoted", false: "kept the incumbent"}[*r.Promoted]
		}
		rows = append(rows, []string{r.Run, r.Status, fmt.Sprint(r.Generations), fmt.Sprint(r.Evaluations), fmt.Sprintf("%.1f s", r.Seconds), verdict})
	}
	return emit(c, runs, []string{"run", "status", "generations", "evaluations", "time", "decision"}, rows)
}
