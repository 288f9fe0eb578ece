package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/experiments/examples"
	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/sandbox/isolation"
)

const asSpec = "as the experiment says"

func workFlags() []cli.Flag {
	return append(outputFlags(), workersFlag(), isolationFlag(), quietFlag(),
		&cli.IntFlag{Name: "shadows", Usage: "shadows that are alive at once", DefaultText: asSpec},
	)
}

func quietFlag() cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Usage: "no progress and no news: only the result, and what is wrong"}
}

func workersFlag() cli.Flag {
	return &cli.IntFlag{Name: "workers", Usage: "shadows that compute at once", DefaultText: "the cores"}
}

func isolationFlag() cli.Flag {
	return &cli.StringFlag{Name: "isolation", Value: "full", Usage: "full, or none (weak, and said in every report)"}
}

func specFlags() []cli.Flag {
	return append(workFlags(),
		&cli.StringFlag{Name: "variant", Usage: "variant of the experiment", DefaultText: "its first"},
		&cli.StringFlag{Name: "runtime", Usage: "auto, gambit or gerbil", DefaultText: asSpec},
	)
}

// maxShadows is what a spec may ask for too.
const maxShadows = 100_000

func options(c *cli.Context) (experiments.Options, error) {
	o := experiments.Options{Workers: c.Int("workers"), Shadows: c.Int("shadows"), Isolation: isolation.Level(c.String("isolation"))}
	for _, name := range []string{"workers", "shadows"} {
		if c.IsSet(name) && (c.Int(name) < 1 || c.Int(name) > maxShadows) {
			return o, usageError{fmt.Sprintf("--%s must be from 1 to %d, not %d", name, maxShadows, c.Int(name))}
		}
	}
	if o.Isolation != isolation.Full && o.Isolation != isolation.None {
		return o, usageError{fmt.Sprintf("--isolation must be full or none, not %q", o.Isolation)}
	}
	if o.Isolation == isolation.None {
		say("WARNING: --isolation none: evolved code can do whatever you can")
	}
	return o, nil
}

func loadSpec(c *cli.Context) (*experiments.Spec, error) {
	if err := wantArgs(c, "EXPERIMENT.yaml"); err != nil {
		return nil, err
	}
	s, err := experiments.Load(c.Args().First(), c.String("variant"))
	if err != nil {
		return nil, err
	}
	if c.IsSet("runtime") {
		if s.Runtime = c.String("runtime"); s.Runtime != "auto" && s.Runtime != "gambit" && s.Runtime != "gerbil" {
			return nil, usageError{fmt.Sprintf("--runtime must be auto, gambit or gerbil, not %q", s.Runtime)}
		}
	}
	return s, nil
}

func initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "make a folder with an experiment that runs at once", ArgsUsage: "DIR",
		Flags: []cli.Flag{&cli.StringFlag{Name: "example", Value: "packer", Usage: fmt.Sprintf("one of %v", examples.Names())}},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "DIR"); err != nil {
				return err
			}
			dir := strings.TrimRight(c.Args().First(), "/")
			if err := examples.Write(c.String("example"), c.Args().First()); errors.Is(err, examples.ErrRefused) {
				return usageError{err.Error()}
			} else if err != nil {
				return err
			}
			next := fmt.Sprintf("jird run %s/experiment.yaml", dir)
			switch {
			case !there(dir, "experiment.yaml") && there(dir, "tournament.yaml"):
				next = fmt.Sprintf("jird tournament %s/tournament.yaml", dir)
			case !there(dir, "experiment.yaml"): // an agent to be served
				next = fmt.Sprintf("jird serve %s/agent, and see %s/README.md", dir, dir)
			}
			say("made %s; next: %s", dir, next)
			return nil
		},
	}
}

func there(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "evolve, judge the winner on unseen cases, promote it or say why not", ArgsUsage: "EXPERIMENT.yaml | --watch RUN",
		Flags: append(append(specFlags(), engineFlags()...),
			&cli.Uint64Flag{Name: "seed", Usage: "seed of all randomness", DefaultText: asSpec},
			&cli.IntFlag{Name: "generations", Usage: "end after this many generations", DefaultText: asSpec},
			&cli.DurationFlag{Name: "budget", Usage: "end after the generation in which this much time has passed", DefaultText: asSpec},
			&cli.IntFlag{Name: "evaluations", Usage: "end after the generation in which this many genomes have been measured", DefaultText: asSpec},
			&cli.IntFlag{Name: "steps", Usage: "end after the generation in which policies have taken this many steps", DefaultText: asSpec},
			&cli.StringFlag{Name: "control", Usage: "none, or in place of evolution: random, best-of-n", DefaultText: asSpec},
			assertFlag(),
			&cli.BoolFlag{Name: "matrix", Usage: "all runs of the experiment's matrix, compared; none makes its winner live"}, casesFlag(),
			&cli.BoolFlag{Name: "watch", Usage: "follow a run or tournament that another process carries out, to its end"},
		),
		Action: func(c *cli.Context) error {
			if c.Bool("watch") {
				return watchRun(c)
			}
			s, err := loadSpec(c)
			if err != nil {
				return err
			}
			o, err := options(c)
			if err != nil {
				return err
			}
			if o.Engine, err = engine(c, s.Engine); err != nil {
				return err
			}
			if c.Bool("matrix") {
				return runMatrix(c, s, o)
			}
			if c.IsSet("cases") {
				return usageError{"--cases is for --matrix and jird compare"}
			}
			if err := override(c, s); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				return evolve(c, s.Search, o, func(o experiments.Options) (*orchestrator.Result, error) { return lab.Run(c.Context, s, o) })
			})
		},
	}
}

// override takes the run's own words over the spec's. Generations that are asked
// for replace the spec's budget, so that a run of a given length is repeatable.
func override(c *cli.Context, s *experiments.Spec) error {
	if c.IsSet("seed") {
		if s.Seed = c.Uint64("seed"); s.Seed > math.MaxInt64 {
			return usageError{fmt.Sprintf("--seed must be from 0 to %d", int64(math.MaxInt64))}
		}
	}
	if c.IsSet("generations") {
		if s.Search.Generations = c.Int("generations"); s.Search.Generations < 1 {
			return usageError{"--generations must be 1 or more"}
		}
		s.Search.Budget = 0
	}
	if c.IsSet("budget") {
		if s.Search.Budget = c.Duration("budget"); s.Search.Budget <= 0 {
			return usageError{"--budget must be a duration above zero, such as 90s"}
		}
	}
	for name, limit := range map[string]*int{"evaluations": &s.Search.Evaluations, "steps": &s.Search.Steps} {
		if c.IsSet(name) {
			if *limit = c.Int(name); *limit < 1 {
				return usageError{fmt.Sprintf("--%s must be 1 or more", name)}
			}
		}
	}
	if c.IsSet("control") {
		s.Search.Control = c.String("control")
		if !slices.Contains([]string{"none", "random", "best-of-n"}, s.Search.Control) {
			return usageError{"--control must be none, random or best-of-n"}
		}
	}
	return nil
}

func resumeCommand() *cli.Command {
	return &cli.Command{
		Name: "resume", Usage: "go on with an interrupted run or tournament, exactly", ArgsUsage: "RUN", Flags: append(append(workFlags(), engineFlags()...), assertFlag()),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "RUN"); err != nil {
				return err
			}
			o, err := options(c)
			if err != nil {
				return err
			}
			if o.Engine, err = engine(c, ""); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				search, err := lab.Search(c.Args().First())
				if errors.Is(err, ledger.ErrNoRun) && lab.IsTournament(c.Args().First()) {
					if o.Engine.Away() {
						say("a tournament is played on this machine, whatever --engine says")
					}
					return played(c, func(lab *experiments.Lab, o experiments.Options, after func(string, int, int)) (*orchestrator.Standings, error) {
						return lab.ResumeTournament(c.Context, c.Args().First(), o, after)
					})
				}
				if err != nil {
					return err
				}
				return evolve(c, search, o, func(o experiments.Options) (*orchestrator.Result, error) {
					return lab.Resume(c.Context, c.Args().First(), o)
				})
			})
		},
	}
}

func evolve(c *cli.Context, search experiments.Search, o experiments.Options, do func(experiments.Options) (*orchestrator.Result, error)) error {
	assertions, err := assertions(c)
	if err != nil {
		return err
	}
	end := func() {}
	if !c.Bool("quiet") {
		o.Events, end = progress(search)
	}
	result, err := do(o)
	end()
	if err != nil {
		return err
	}
	if err := printResult(c, result); err != nil {
		return err
	}
	switch {
	case result.Interrupted:
		return errInterrupted
	case result.Stop == "budget" && result.Generations == 0:
		return errTooShort
	}
	return asserted(assertions, result.Numbers())
}

func evaluateCommand() *cli.Command {
	return &cli.Command{
		Name: "evaluate", Usage: "score one policy on given cases", ArgsUsage: "EXPERIMENT.yaml",
		Flags: append(specFlags(),
			&cli.StringFlag{Name: "genome", Usage: "file with an expression or whole definition (default: the incumbent)"},
			&cli.StringFlag{Name: "cases", Usage: `JSON file: {"name": {"capacity": 150, "items": [..]}, ...}`},
		),
		Action: func(c *cli.Context) error {
			s, err := loadSpec(c)
			if err != nil {
				return err
			}
			o, err := options(c)
			if err != nil {
				return err
			}
			if c.String("cases") == "" {
				return usageError{"evaluate needs --cases FILE.json; see jird evaluate --help"}
			}
			cases, err := experiments.ReadCases(c.String("cases"))
			if err != nil {
				return err
			}
			var genome []byte
			if path := c.String("genome"); path != "" {
				if genome, err = experiments.ReadGenome(path); err != nil {
					return err
				}
			}
			return withLab(c, func(lab *experiments.Lab) error {
				e, err := lab.Evaluate(c.Context, s, genome, experiments.Given(cases), o)
				var wrong *orchestrator.AgentError
				if errors.As(err, &wrong) && wrong.File == experiments.GivenGenome {
					wrong.File = c.String("genome")
				}
				if err != nil {
					return err
				}
				return printEvaluation(c, e)
			})
		},
	}
}
