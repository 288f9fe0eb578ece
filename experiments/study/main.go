// Command study judges the examples as a stranger would: from some seeds each, beside
// controls at the same budget, on what no search has seen, with intervals over the seeds.
//
//	go run ./experiments/study [flags] [packer|sortnet|sixteen|duel|dilemma]...
package main

import (
	"flag"
	"fmt"
	"os"

	"jird/experiments"
	"jird/sandbox"
)

// options are what may be varied, for all studies or for the packer's.
type options struct {
	seeds       int
	first       uint64
	evaluations int
	controls    int
	variant     string
}

func main() {
	sandbox.Stage()
	var o options
	flag.IntVar(&o.seeds, "seeds", 10, "runs of each study")
	flag.Uint64Var(&o.first, "first", 1, "seed of the first run")
	flag.IntVar(&o.evaluations, "evaluations", 90_000, "packer: of each search")
	flag.IntVar(&o.controls, "controls", 10, "runs that have the controls beside them")
	flag.StringVar(&o.variant, "variant", "", "packer: or or weibull; empty: both")
	flag.Parse()
	if err := studies(o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "jird: study:", err)
		os.Exit(1)
	}
}

func studies(o options, names []string) (err error) {
	if len(names) == 0 {
		names = []string{"packer", "sortnet", "sixteen", "duel", "dilemma"}
	}
	for _, name := range names {
		if name == "packer" {
			err = packer(o)
		} else if d, known := duels[name]; known {
			err = d.study(name, o)
		} else {
			err = fmt.Errorf("there is no study %q: use packer, sortnet, sixteen, duel or dilemma", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// withLab opens a state folder that starts empty: a run must not begin from the winner
// of another.
func withLab(f func(*experiments.Lab) error) error {
	home, err := os.MkdirTemp("", "jird-study-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	lab, err := experiments.OpenLab(home, func(string, ...any) {})
	if err != nil {
		return err
	}
	defer lab.Close()
	return f(lab)
}
