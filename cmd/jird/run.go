package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"jird/experiments"
	"jird/experiments/examples"
	"jird/orchestrator"
	"jird/sandbox/isolation"
)

func workFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "workers", Usage: "shadows that compute at once (default: cores)"},
		&cli.IntFlag{Name: "shadows", Usage: "shadows that are alive at once (default: as the experiment says)"},
		&cli.StringFlag{Name: "isolation", Value: "full", Usage: "full, or none (weak, and said in every report)"},
		outputFlag(),
	}
}

func specFlags() []cli.Flag {
	return append(workFlags(),
		&cli.StringFlag{Name: "variant", Usage: "variant of the experiment (default: its first)"},
		&cli.StringFlag{Name: "runtime", Usage: "auto, gambit or gerbil (default: as the experiment says)"},
	)
}

func options(c *cli.Context) (experiments.Options, error) {
	o := experiments.Options{Workers: c.Int("workers"), Shadows: c.Int("shadows"), Isolation: isolation.Level(c.String("isolation"))}
	if o.Workers < 0 || o.Shadows < 0 {
		return o, usageError{"--workers and --shadows must be 1 or more"}
	}
	if o.Isolation != isolation.Full && o.Isolation != isolation.None {
		return o, usageError{"--isolation must be full or none"}
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
	if r := c.String("runtime"); r != "" {
		s.Runtime = r
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
			if err := examples.Write(c.String("example"), c.Args().First()); err != nil {
				return usageError{err.Error()}
			}
			say("made %s; next: jird run %s/experiment.yaml", c.Args().First(), c.Args().First())
			return nil
		},
	}
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "evolve, judge the winner on unseen cases, promote it or say why not", ArgsUsage: "EXPERIMENT.yaml",
		Flags: append(specFlags(),
			&cli.Uint64Flag{Name: "seed", Usage: "seed of all randomness (default: as the experiment says)"},
			&cli.IntFlag{Name: "generations", Usage: "end after this many generations"},
			&cli.DurationFlag{Name: "budget", Usage: "end after the generation in which this much time has passed"},
			&cli.StringFlag{Name: "control", Usage: "none, or in place of evolution: random, best-of-n"},
		),
		Action: func(c *cli.Context) error {
			s, err := loadSpec(c)
			if err != nil {
				return err
			}
			if err := override(c, s); err != nil {
				return err
			}
			o, err := options(c)
			if err != nil {
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
		s.Seed = c.Uint64("seed")
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
		Name: "resume", Usage: "go on with an interrupted run, exactly", ArgsUsage: "RUN", Flags: workFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "RUN"); err != nil {
				return err
			}
			o, err := options(c)
			if err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				return evolve(c, experiments.Search{}, o, func(o experiments.Options) (*orchestrator.Result, error) {
					return lab.Resume(c.Context, c.Args().First(), o)
				})
			})
		},
	}
}

func evolve(c *cli.Context, search experiments.Search, o experiments.Options, do func(experiments.Options) (*orchestrator.Result, error)) error {
	show, end := progress(search)
	o.Events = show
	result, err := do(o)
	end()
	if err != nil {
		return err
	}
	if err := printResult(c, result); err != nil {
		return err
	}
	if result.Interrupted {
		return errInterrupted
	}
	return nil
}

// progress shows a bar on a terminal and a line every few seconds elsewhere.
func progress(search experiments.Search) (show func(orchestrator.Event), end func()) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return lines(), func() {}
	}
	total := int64(search.Generations)
	if total == 0 {
		total = search.Budget.Milliseconds()
	}
	var last orchestrator.Event
	p := mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(40))
	bar := p.AddBar(total, mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
		return fmt.Sprintf(" generation %d, %d evaluations, best %.5f", last.Generation, last.Evaluations, last.Best)
	})))
	show = func(e orchestrator.Event) {
		if e.Message != "" {
			return
		}
		last = e
		if search.Generations > 0 {
			bar.SetCurrent(int64(e.Generation))
		} else {
			bar.SetCurrent(e.Elapsed.Milliseconds())
		}
	}
	return show, func() {
		bar.Abort(false)
		p.Wait()
	}
}

func lines() func(orchestrator.Event) {
	const every = 5 * time.Second
	next := time.Duration(0)
	return func(e orchestrator.Event) {
		if e.Message != "" {
			say("%s", e.Message)
		} else if e.Elapsed >= next {
			next = e.Elapsed + every
			say("generation %d, %d evaluations, best %.5f, %v", e.Generation, e.Evaluations, e.Best, e.Elapsed.Round(100*time.Millisecond))
		}
	}
}

func evaluateCommand() *cli.Command {
	return &cli.Command{
		Name: "evaluate", Usage: "score one policy on given cases", ArgsUsage: "EXPERIMENT.yaml",
		Flags: append(specFlags(),
			&cli.StringFlag{Name: "genome", Usage: "file with an expression or whole definition (default: the incumbent)"},
			&cli.StringFlag{Name: "cases", Required: true, Usage: `JSON file: {"name": {"capacity": 150, "items": [..]}, ...}`},
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
			cases, err := experiments.ReadCases(c.String("cases"))
			if err != nil {
				return err
			}
			var genome []byte
			if path := c.String("genome"); path != "" {
				if genome, err = os.ReadFile(path); err != nil {
					return err
				}
			}
			return withLab(c, func(lab *experiments.Lab) error {
				e, err := lab.Evaluate(c.Context, s, genome, experiments.Given(cases), o)
				if err != nil {
					return err
				}
				return printEvaluation(c, e)
			})
		},
	}
}
