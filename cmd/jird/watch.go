package main

import (
	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/orchestrator"
)

// watchRun follows what another process carries out, and ends as that would: with the
// result, and with the status that it has.
func watchRun(c *cli.Context) error {
	return withRun(c, func(lab *experiments.Lab, assertions []*experiments.Assertion) error {
		follow := followRun
		if lab.IsTournament(c.Args().First()) {
			follow = followTournament
		}
		done, err := follow(c, lab)
		if err != nil {
			return err
		}
		if !done {
			say("it was interrupted; go on with: jird resume %s", c.Args().First())
			return errInterrupted
		}
		return reported(c, lab, assertions)
	})
}

func followRun(c *cli.Context, lab *experiments.Lab) (done bool, err error) {
	search, err := lab.Search(c.Args().First())
	if err != nil {
		return false, err
	}
	show, end := func(orchestrator.Event) {}, func() {}
	if !c.Bool("quiet") {
		show, end = progress(search)
	}
	i, err := lab.Watch(c.Context, c.Args().First(), show)
	end()
	return i.Status == orchestrator.RunDone, err
}

func followTournament(c *cli.Context, lab *experiments.Lab) (done bool, err error) {
	show := func(string, int, int) {}
	if !c.Bool("quiet") {
		show = rounds()
	}
	i, err := lab.WatchTournament(c.Context, c.Args().First(), show)
	return i.Status == orchestrator.RunDone, err
}
