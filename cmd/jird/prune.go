package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/snapshots"
)

func pruneCommand() *cli.Command {
	return &cli.Command{
		Name: "prune", Usage: "show which images and chunks nothing needs, and remove them with --yes", ArgsUsage: " ",
		Flags: append(outputFlags(), &cli.BoolFlag{Name: "yes", Usage: "remove them"}),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error { return pruneSnapshots(c, lab) })
		},
	}
}

// pruned is what prune found, and whether it is gone, as JSON.
type pruned struct {
	Snapshots []prunedImage `json:"snapshots"`
	Chunks    int           `json:"chunks"`
	Leftovers int           `json:"leftovers"`
	Bytes     int64         `json:"bytes"`
	Young     int           `json:"young"`
	Removed   bool          `json:"removed"`
}

type prunedImage struct {
	Snapshot snapshots.ID `json:"snapshot"`
	Name     string       `json:"name"`
}

// pruneSnapshots finds the plan first: what is then removed is found anew, while nobody
// writes to the vault, so it may be less or more by what others did meanwhile.
func pruneSnapshots(c *cli.Context, lab *experiments.Lab) error {
	u, err := lab.Prune(false)
	if err != nil {
		return err
	}
	p := pruned{Snapshots: []prunedImage{}}
	var rows [][]string
	for _, id := range u.Images {
		name, err := lab.Vault.Name(id)
		if err != nil {
			return err
		}
		p.Snapshots = append(p.Snapshots, prunedImage{id, name})
		rows = append(rows, []string{fmt.Sprintf("%.12s", id), name})
	}
	verb := "can be freed; --yes does it"
	if c.Bool("yes") {
		for _, row := range rows {
			say("removing snapshot %s of %s", row[0], row[1])
		}
		if u, err = lab.Prune(true); err != nil {
			return err
		}
		p.Removed, verb = true, "were freed"
	}
	p.Chunks, p.Leftovers, p.Bytes, p.Young = u.Chunks, u.Leftovers, u.Bytes, u.Young
	lines := []string{fmt.Sprintf("%d snapshots, %d chunks and %d files of interrupted writes: %d bytes %s", len(u.Images), u.Chunks, u.Leftovers, u.Bytes, verb)}
	if u.Young > 0 {
		lines = append(lines, fmt.Sprintf("%d more that nothing names stay until they are an hour old", u.Young))
	}
	tables := []table{{[]string{"snapshot", "name"}, rows}}
	if len(rows) == 0 {
		tables = nil
	}
	return emit(c, p, tables, lines...)
}
