package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/experiments/ledger"
	"jird/experiments/report"
)

// reportForms are what --output of report takes; the first two are those of any result.
var reportForms = []string{"table", "json", "csv", "markdown", "junit", "html"}

func reportCommand() *cli.Command {
	forms := strings.Join(reportForms[:len(reportForms)-1], ", ") + " or " + reportForms[len(reportForms)-1]
	return &cli.Command{
		Name: "report", Usage: "show how a run or tournament went", ArgsUsage: "RUN",
		Flags: []cli.Flag{outFlag(), assertFlag(), &cli.StringFlag{Name: "output", Value: "table", Usage: forms, Action: func(_ *cli.Context, v string) error {
			if !slices.Contains(reportForms, v) {
				return usageError{fmt.Sprintf("--output must be %s, not %q", forms, v)}
			}
			return nil
		}}},
		Action: func(c *cli.Context) error {
			return withRun(c, func(lab *experiments.Lab, assertions []*experiments.Assertion) error {
				return reported(c, lab, assertions)
			})
		},
	}
}

// withRun is withLab for a command that takes a run, and --assert.
func withRun(c *cli.Context, f func(*experiments.Lab, []*experiments.Assertion) error) error {
	if err := wantArgs(c, "RUN"); err != nil {
		return err
	}
	assertions, err := assertions(c)
	if err != nil {
		return err
	}
	return withLab(c, func(lab *experiments.Lab) error { return f(lab, assertions) })
}

// document is what can be reported.
type document interface {
	HTML(io.Writer) error
	CSV(io.Writer) error
	Markdown(io.Writer) error
	Checks() []report.Check
	Numbers() map[string]float64
}

// reported prints a report, and then says what of the assertions does not hold.
func reported(c *cli.Context, lab *experiments.Lab, assertions []*experiments.Assertion) error {
	doc, table, err := documentOf(c, lab)
	if err != nil {
		return err
	}
	numbers := doc.Numbers()
	checks, err := assertChecks(assertions, numbers)
	if err != nil {
		return err
	}
	switch c.String("output") {
	case "html":
		err = deliver(c, doc.HTML)
	case "csv":
		err = deliver(c, doc.CSV)
	case "markdown":
		err = deliver(c, doc.Markdown)
	case "junit":
		err = deliver(c, func(w io.Writer) error {
			return report.JUnit(w, c.Args().First(), numbers["seconds"], append(doc.Checks(), checks...))
		})
	default:
		err = table()
	}
	if err != nil {
		return err
	}
	return asserted(assertions, numbers)
}

// documentOf reads a run or a tournament, and gives how it is printed as tables or JSON.
func documentOf(c *cli.Context, lab *experiments.Lab) (doc document, table func() error, err error) {
	id := c.Args().First()
	if !lab.IsTournament(id) {
		r, err := lab.RunReport(id)
		if err != nil {
			return nil, nil, err
		}
		r.Jird = thisJird()
		return r, func() error { return printReport(c, r.Report) }, nil
	}
	t, err := lab.TournamentReport(id)
	if err != nil {
		return nil, nil, err
	}
	t.Jird = thisJird()
	return t, func() error { return printStandings(c, t.Standings) }, nil
}

// thisJird names the program that makes a report: version, and commit if it is known.
func thisJird() string {
	v := version()
	return strings.TrimSpace(v.Version + " " + v.Commit)
}

// assertChecks are assertions as tests; the error is that of one that cannot be read.
func assertChecks(assertions []*experiments.Assertion, numbers map[string]float64) (all []report.Check, err error) {
	for _, a := range assertions {
		failed, err := a.Failed(numbers)
		if err != nil {
			return nil, misasserted(err)
		}
		all = append(all, report.Check{Name: "assert " + a.String(), Failure: strings.Join(failed, "; "), Kind: "assertion"})
	}
	return all, nil
}

// reportRows is the most generations that a table shows; JSON has them all.
const reportRows = 20

func printReport(c *cli.Context, r *ledger.Report) error {
	course := table{header: []string{"generation", "evaluations", "best", "median", "failed"}}
	step := max(1, (len(r.Generations)+reportRows-1)/reportRows)
	for i, g := range r.Generations {
		if i%step == 0 || i == len(r.Generations)-1 {
			course.rows = append(course.rows, []string{fmt.Sprint(g.Number), fmt.Sprint(g.Evaluations), score(g.Best), score(g.Median), fmt.Sprint(g.Failed)})
		}
	}
	paid := table{header: []string{"operator", "made", "better than parents", "best so far"}}
	for _, o := range r.Operators {
		paid.rows = append(paid.rows, []string{o.Name, fmt.Sprint(o.Made), fmt.Sprint(o.Better), fmt.Sprint(o.Paid)})
	}
	var tables []table
	var lines []string
	if len(r.Generations) > 0 {
		tables, lines = []table{course, paid}, []string{"outcomes: " + counts(r.Outcomes)}
	}
	if r.Lineage != nil {
		tables = append(tables, sides(*r.Incumbent, *r.Winner))
		lines = append(lines, fmt.Sprintf("the winner was first measured in generation %d and has %d ancestors", r.Lineage.Generation, r.Lineage.Ancestors))
	}
	return emit(c, r, append(tables, proposers(r.Proposers)...), append(lines, r.Verdict())...)
}

// counts lists what happened how often, the most frequent first.
func counts(of map[string]int) string {
	var all []string
	for name := range of {
		all = append(all, name)
	}
	slices.SortFunc(all, func(a, b string) int {
		if of[a] != of[b] {
			return of[b] - of[a]
		}
		return strings.Compare(a, b)
	})
	for i, name := range all {
		all[i] = fmt.Sprintf("%d %s", of[name], name)
	}
	return strings.Join(all, ", ")
}
