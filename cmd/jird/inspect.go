package main

import (
	"fmt"
	"runtime/debug"

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
	var tables []table
	if len(s.Runs) > 0 {
		t := table{header: []string{"run", "status", "gen", "evals", "per second", "best", "time", "left", "decision"}}
		for _, r := range s.Runs {
			t.rows = append(t.rows, []string{
				r.Run, r.Status, fmt.Sprint(r.Generations), fmt.Sprint(r.Evaluations), pace(r), best(r.Best), fmt.Sprintf("%.1f s", r.Seconds), left(r.Left), decision(r.Promoted),
			})
		}
		tables = append(tables, t)
	}
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

// pace is how many evaluations a second a run has made, the decision's time and all.
func pace(r ledger.Info) string {
	if r.Seconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", float64(r.Evaluations)/r.Seconds)
}

func best(b *float64) string {
	if b == nil {
		return "-"
	}
	return score(*b)
}

func left(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f s", *seconds)
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

// finding is something that doctor looked at.
type finding struct {
	What string `json:"what"`
	Here string `json:"here"`
	OK   bool   `json:"ok"`
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "tell what this machine has and can isolate", Flags: outputFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c); err != nil {
				return err
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
				took, err := experiments.ForkTime(c.Context, r, c.String("home"))
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

// stamped is the version that make build gives, of git describe.
var stamped string

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version", Flags: outputFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c); err != nil {
				return err
			}
			v := version()
			return emit(c, v, []table{{[]string{"version", "go", "commit"}, [][]string{{v.Version, v.Go, v.Commit}}}})
		},
	}
}

// build says which jird this is.
type build struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	Commit  string `json:"commit"` // or empty
}

func version() build {
	v := build{Version: "devel"}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version, v.Go = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	if stamped != "" {
		v.Version = stamped
	}
	return v
}
