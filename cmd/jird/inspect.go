package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "list the runs of the ledger", Flags: []cli.Flag{outputFlag()},
		Action: func(c *cli.Context) error {
			return withLab(c, func(lab *experiments.Lab) error {
				runs, err := lab.Ledger.Runs()
				if err != nil {
					return err
				}
				return printRuns(c, runs)
			})
		},
	}
}

func reportCommand() *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "show how a run went", ArgsUsage: "RUN", Flags: []cli.Flag{outputFlag()},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "RUN"); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				r, err := lab.Ledger.Report(c.Args().First())
				if err != nil {
					return err
				}
				var rows [][]string
				for _, g := range r.Generations {
					rows = append(rows, []string{fmt.Sprint(g.Number), fmt.Sprint(g.Evaluations), percent(g.Best), percent(g.Median), fmt.Sprint(g.Failed)})
				}
				if err := emit(c, r, []string{"generation", "evaluations", "best", "median", "failed"}, rows); err != nil || c.String("output") == "json" {
					return err
				}
				_, err = fmt.Printf("%s\n", r.Verdict())
				return err
			})
		},
	}
}

func ledgerCommand() *cli.Command {
	return &cli.Command{
		Name: "ledger", Usage: "the history of runs",
		Subcommands: []*cli.Command{{
			Name: "export", Usage: "print a run as JSON Lines, the same for equal runs", ArgsUsage: "RUN",
			Action: func(c *cli.Context) error {
				if err := wantArgs(c, "RUN"); err != nil {
					return err
				}
				return withLab(c, func(lab *experiments.Lab) error { return lab.Ledger.Export(os.Stdout, c.Args().First()) })
			},
		}},
	}
}

func snapshotCommand() *cli.Command {
	sub := func(name, usage, args string, names []string, do func(*cli.Context, *experiments.Lab) error, flags ...cli.Flag) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: args, Flags: append(flags, outputFlag()), Action: func(c *cli.Context) error {
			if err := wantArgs(c, names...); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error { return do(c, lab) })
		}}
	}
	return &cli.Command{
		Name: "snapshot", Usage: "images of agents",
		Subcommands: []*cli.Command{
			sub("create", "capture an agent's folder and make it live", "NAME DIR", []string{"NAME", "DIR"}, func(c *cli.Context, lab *experiments.Lab) error {
				id, err := lab.Capture(c.Args().Get(0), c.Args().Get(1))
				if err != nil {
					return err
				}
				return emit(c, map[string]string{"snapshot": string(id)}, []string{"snapshot"}, [][]string{{string(id)}})
			}),
			sub("list", "list all images", "", nil, listSnapshots),
			sub("show", "show an image's files", "SNAPSHOT", []string{"SNAPSHOT"}, showSnapshot),
			sub("check", "read everything back and name every damage", "", nil, checkSnapshots),
			sub("restore", "write an image into a new folder", "SNAPSHOT DIR", []string{"SNAPSHOT", "DIR"}, func(c *cli.Context, lab *experiments.Lab) error {
				return lab.Vault.Restore(snapshots.ID(c.Args().Get(0)), c.Args().Get(1))
			}),
		},
	}
}

func listSnapshots(c *cli.Context, lab *experiments.Lab) error {
	ids, err := lab.Vault.IDs()
	if err != nil {
		return err
	}
	refs, err := lab.Vault.Refs()
	if err != nil {
		return err
	}
	type item struct {
		Snapshot snapshots.ID `json:"snapshot"`
		Name     string       `json:"name"`
		Refs     []string     `json:"refs"`
	}
	items, rows := []item{}, [][]string{}
	for _, id := range ids {
		image, err := lab.Vault.Get(id)
		if err != nil {
			return err
		}
		i := item{id, image.Name, []string{}}
		for _, ref := range []string{"live", "previous", "candidate"} {
			if refs[image.Name+"/"+ref] == id {
				i.Refs = append(i.Refs, image.Name+"/"+ref)
			}
		}
		items = append(items, i)
		rows = append(rows, []string{string(id), image.Name, fmt.Sprint(i.Refs)})
	}
	return emit(c, items, []string{"snapshot", "name", "refs"}, rows)
}

func showSnapshot(c *cli.Context, lab *experiments.Lab) error {
	image, err := lab.Vault.Get(snapshots.ID(c.Args().First()))
	if err != nil {
		return err
	}
	type file struct {
		Path  string `json:"path"`
		Bytes int    `json:"bytes"`
	}
	files, rows := []file{}, [][]string{}
	for _, f := range image.Files {
		files = append(files, file{f.Path, len(f.Data)})
		rows = append(rows, []string{f.Path, fmt.Sprint(len(f.Data))})
	}
	return emit(c, map[string]any{"name": image.Name, "parents": image.Parents, "files": files}, []string{"file", "bytes"}, rows)
}

func checkSnapshots(c *cli.Context, lab *experiments.Lab) error {
	images, damage := lab.Vault.Check()
	for _, d := range damage[:max(0, len(damage)-1)] {
		say("%v", d)
	}
	if len(damage) > 0 {
		return damage[len(damage)-1]
	}
	return emit(c, map[string]int{"snapshots": images, "damaged": 0}, []string{"snapshots", "damaged"}, [][]string{{fmt.Sprint(images), "0"}})
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "tell what this machine has and can isolate", Flags: []cli.Flag{outputFlag()},
		Action: func(c *cli.Context) error {
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
			return emit(c, all, []string{"", "ok", "here"}, rows)
		},
	}
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version", Flags: []cli.Flag{outputFlag()},
		Action: func(c *cli.Context) error {
			v := map[string]string{"version": "devel", "go": "", "commit": ""}
			if info, ok := debug.ReadBuildInfo(); ok {
				v["version"], v["go"] = info.Main.Version, info.GoVersion
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v["commit"] = s.Value
					}
				}
			}
			return emit(c, v, []string{"version", "go", "commit"}, [][]string{{v["version"], v["go"], v["commit"]}})
		},
	}
}
