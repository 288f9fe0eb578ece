package main

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"jird/experiments"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "write images and refs to one file, for another machine", ArgsUsage: "[SNAPSHOT|REF ...] --out FILE",
		Flags: []cli.Flag{outFlag(), &cli.StringSliceFlag{Name: "run", Usage: "all images of this run or tournament; may stand several times"}},
		Action: func(c *cli.Context) error {
			if c.String("out") == "" || c.NArg()+len(c.StringSlice("run")) == 0 {
				return usageError{fmt.Sprintf("%s takes SNAPSHOT or REF, or --run RUN, and --out FILE; see %s --help", c.Command.HelpName, c.Command.HelpName)}
			}
			return withLab(c, func(lab *experiments.Lab) error {
				cargo, err := lab.Cargo(c.Args().Slice(), c.StringSlice("run"))
				if err != nil {
					return err
				}
				if err := deliver(c, func(w io.Writer) error { return lab.Vault.Export(w, cargo.Images, cargo.Refs) }); err != nil {
					return err
				}
				say("%s holds %d snapshots and %d refs; take them in with `jird snapshot import`", c.String("out"), len(cargo.Images), len(cargo.Refs))
				return nil
			})
		},
	}
}

func importCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "take the images of a file that export wrote, and its refs where there are none of the name", ArgsUsage: "FILE",
		Flags: append(outputFlags(), &cli.BoolFlag{Name: "force", Usage: "move refs that are elsewhere, but those of agents that were ever served"}),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "FILE"); err != nil {
				return err
			}
			f, err := os.Open(c.Args().First())
			if err != nil {
				return usageError{err.Error()}
			}
			defer f.Close()
			return withLab(c, func(lab *experiments.Lab) error {
				a, err := lab.Import(f, c.Bool("force"))
				if err != nil {
					return fmt.Errorf("%s: %w", f.Name(), err)
				}
				var refs [][]string
				for _, r := range a.Refs {
					refs = append(refs, []string{r.Ref, r.Done, fmt.Sprintf("%.12s", r.Was), fmt.Sprintf("%.12s", r.To)})
				}
				tables := []table{{[]string{"ref", "done", "was", "in the archive"}, refs}}
				if len(refs) == 0 {
					tables = nil
				}
				return emit(c, a, tables, fmt.Sprintf("%d snapshots, %d of them new", len(a.Images), a.New))
			})
		},
	}
}
