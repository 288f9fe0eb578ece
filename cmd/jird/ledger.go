package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
)

func ledgerCommand() *cli.Command {
	return &cli.Command{
		Name: "ledger", Usage: "the history of runs",
		Subcommands: []*cli.Command{
			{
				Name: "export", Usage: "print a run or tournament as JSON Lines, the same for equal ones; or its genomes or matches as CSV", ArgsUsage: "RUN",
				Flags: []cli.Flag{outFlag(), &cli.StringFlag{Name: "output", Value: "jsonl", Usage: "jsonl or csv"}},
				Action: func(c *cli.Context) error {
					if err := wantArgs(c, "RUN"); err != nil {
						return err
					}
					return withLab(c, func(lab *experiments.Lab) error { return exportLedger(c, lab) })
				},
			},
			{
				Name: "import", Usage: "take the runs and tournaments of a file that export wrote: all of it or nothing", ArgsUsage: "FILE", Flags: outputFlags(),
				Action: func(c *cli.Context) error {
					if err := wantArgs(c, "FILE"); err != nil {
						return err
					}
					return withLab(c, func(lab *experiments.Lab) error { return importLedger(c, lab) })
				},
			},
			{
				Name: "check", Usage: "read everything back and name what is damaged, missing or contradicts itself", ArgsUsage: " ", Flags: outputFlags(),
				Action: func(c *cli.Context) error {
					if err := wantArgs(c); err != nil {
						return err
					}
					return withLab(c, func(lab *experiments.Lab) error { return checkLedger(c, lab) })
				},
			},
		},
	}
}

func exportLedger(c *cli.Context, lab *experiments.Lab) error {
	export := lab.Ledger.Export
	switch c.String("output") {
	case "jsonl":
	case "csv":
		export = lab.Ledger.ExportCSV
	default:
		return usageError{fmt.Sprintf("--output must be jsonl or csv, not %q", c.String("output"))}
	}
	return deliver(c, func(w io.Writer) error { return export(w, c.Args().First()) })
}

func importLedger(c *cli.Context, lab *experiments.Lab) error {
	f, err := os.Open(c.Args().First())
	if err != nil {
		return usageError{err.Error()}
	}
	defer f.Close()
	in, err := lab.Ledger.Import(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	var lines []string
	for _, id := range in.New {
		lines = append(lines, id+": taken")
	}
	for _, id := range in.Same {
		lines = append(lines, id+": there already")
	}
	return emit(c, in, nil, lines...)
}

func checkLedger(c *cli.Context, lab *experiments.Lab) error {
	found, err := lab.Ledger.Check()
	if err != nil {
		return err
	}
	for _, fault := range found.Faults {
		say("%s", fault)
	}
	row := strings.Fields(fmt.Sprint(found.Runs, found.Tournaments, found.Genomes, found.Decisions, len(found.Faults)))
	if err := emit(c, found, []table{{[]string{"runs", "tournaments", "genomes", "decisions", "faults"}, [][]string{row}}}); err != nil {
		return err
	}
	return lab.Ledger.Damage(found)
}
