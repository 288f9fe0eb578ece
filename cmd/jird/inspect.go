package main

import (
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/sandbox"
	"jird/sandbox/isolation"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "list the runs and tournaments of the ledger, or show how a guarded agent is", Flags: append(outputFlags(),
			&cli.StringFlag{Name: "agent", Usage: "show this agent, as its guard says"}),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				if name := c.String("agent"); name != "" {
					return printGuard(c, lab, name)
				}
				return printStatus(c, lab)
			})
		},
	}
}

// status is what the ledger holds, as JSON.
type status struct {
	Runs        []ledger.Info           `json:"runs"`
	Tournaments []ledger.TournamentInfo `json:"tournaments"`
}

func printStatus(c *cli.Context, lab *experiments.Lab) error {
	var s status
	var err error
	if s.Runs, err = lab.Runs(); err != nil {
		return err
	}
	if s.Tournaments, err = lab.Tournaments(); err != nil {
		return err
	}
	if len(s.Runs)+len(s.Tournaments) == 0 && c.String("output") == "table" {
		say("no runs in %s yet; `jird run EXPERIMENT.yaml` makes one", lab.Home)
		return nil
	}
	runs := table{header: []string{"run", "status", "gen", "evals", "time", "decision"}}
	for _, r := range s.Runs {
		runs.rows = append(runs.rows, []string{r.Run, r.Status, fmt.Sprint(r.Generations), fmt.Sprint(r.Evaluations), fmt.Sprintf("%.1f s", r.Seconds), decision(r.Promoted)})
	}
	tables := []table{runs}
	if len(s.Tournaments) > 0 {
		t := table{header: []string{"tournament", "status", "gen", "rounds", "matches", "decision"}}
		for _, i := range s.Tournaments {
			verdict := decision(i.Promoted)
			if i.Promoted == nil && i.Status == orchestrator.RunDone {
				verdict = "-" // nobody was to be handed over
			}
			t.rows = append(t.rows, []string{i.Run, i.Status, of(i.Generations, i.GenerationsOf), of(i.Rounds, i.RoundsOf), fmt.Sprint(i.Matches), verdict})
		}
		tables = append(tables, t)
	}
	return emit(c, s, tables)
}

// of is how far something is, or that there is nothing of the kind.
func of(n, all int) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", n, all)
}

func decision(promoted *bool) string {
	switch {
	case promoted == nil:
		return "undecided"
	case *promoted:
		return "promoted"
	}
	return "kept"
}

func reportCommand() *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "show how a run or tournament went", ArgsUsage: "RUN", Flags: outputFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "RUN"); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				if lab.IsTournament(c.Args().First()) {
					s, err := lab.Standings(c.Args().First())
					if err != nil {
						return err
					}
					return printStandings(c, s)
				}
				r, err := lab.Report(c.Args().First())
				if err != nil {
					return err
				}
				return printReport(c, r)
			})
		},
	}
}

// reportRows is the most generations that a table shows; JSON has them all.
const reportRows = 20

func printReport(c *cli.Context, r *ledger.Report) error {
	course := table{header: []string{"generation", "evaluations", "best", "median", "failed"}}
	step := max(1, (len(r.Generations)+reportRows-1)/reportRows)
	for i, g := range r.Generations {
		if i%step == 0 || i == len(r.Generations)-1 {
			course.rows = append(course.rows, []string{fmt.Sprint(g.Number), fmt.Sprint(g.Evaluations), percent(g.Best), percent(g.Median), fmt.Sprint(g.Failed)})
		}
	}
	paid := table{header: []string{"operator", "made", "best so far"}}
	for _, o := range r.Operators {
		paid.rows = append(paid.rows, []string{o.Name, fmt.Sprint(o.Made), fmt.Sprint(o.Paid)})
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
	return emit(c, r, tables, append(lines, r.Verdict())...)
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

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "tell what this machine has and can isolate", Flags: outputFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c); err != nil {
				return err
			}
			type finding struct {
				What string `json:"what"`
				Here string `json:"here"`
				OK   bool   `json:"ok"`
			}
			var all []finding
			add := func(what, here string, ok bool) { all = append(all, finding{what, here, ok}) }
			r, err := sandbox.FindRuntime(c.Context, "auto")
			if err != nil {
				add("runtime", err.Error(), false)
			} else {
				add("runtime", fmt.Sprintf("%s, %s (%s)", r, r.Interpreter, r.Why), true)
				if r.Compiler == "" {
					add("compiler", "no gsc and C compiler: shadows are spawned, slower; apt-get install gambc gcc", false)
				} else {
					add("compiler", r.Compiler, true)
				}
			}
			m := isolation.Probe()
			plan, planErr := isolation.Decide(isolation.Policy{Level: isolation.Full}, m)
			if planErr != nil {
				add("isolation", planErr.Error(), false)
			} else {
				add("isolation", fmt.Sprintf("%v, Landlock ABI %d", plan, m.Landlock), true)
			}
			if err == nil && planErr == nil {
				took, err := experiments.ForkTime(c.Context, r, filepath.Join(c.String("home"), "cache"))
				if err != nil {
					add("fork", err.Error(), false)
				} else {
					add("fork", fmt.Sprintf("%v from fork to an isolated shadow's first word and its end", took), true)
				}
			}
			var rows [][]string
			for _, f := range all {
				rows = append(rows, []string{f.What, map[bool]string{true: "yes", false: "NO"}[f.OK], f.Here})
			}
			return emit(c, all, []table{{[]string{"", "ok", "here"}, rows}})
		},
	}
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version", Flags: outputFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c); err != nil {
				return err
			}
			v := map[string]string{"version": "devel", "go": "", "commit": ""}
			if info, ok := debug.ReadBuildInfo(); ok {
				v["version"], v["go"] = info.Main.Version, info.GoVersion
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v["commit"] = s.Value
					}
				}
			}
			return emit(c, v, []table{{[]string{"version", "go", "commit"}, [][]string{{v["version"], v["go"], v["commit"]}}}})
		},
	}
}
