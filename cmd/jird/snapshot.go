package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/snapshots"
)

func snapshotCommand() *cli.Command {
	sub := func(name, usage, args string, names []string, do func(*cli.Context, *experiments.Lab) error) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: args, Flags: outputFlags(), Action: func(c *cli.Context) error {
			if err := wantArgs(c, names...); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error { return do(c, lab) })
		}}
	}
	return &cli.Command{
		Name: "snapshot", Usage: "images of agents",
		Subcommands: []*cli.Command{
			createCommand(),
			sub("list", "list all images", "", nil, listSnapshots),
			sub("show", "show an image's files", "SNAPSHOT", []string{"SNAPSHOT"}, showSnapshot),
			sub("diff", "show what differs between two images: files, definitions, memory", "A B", []string{"A", "B"}, diffSnapshots),
			sub("check", "read everything back and name every damage", "", nil, checkSnapshots),
			sub("restore", "write an image into a new folder", "SNAPSHOT DIR", []string{"SNAPSHOT", "DIR"}, func(c *cli.Context, lab *experiments.Lab) error {
				id, err := lab.Vault.Find(c.Args().Get(0))
				if err != nil {
					return err
				}
				if err := lab.Vault.Restore(id, c.Args().Get(1)); err != nil {
					return err
				}
				return emit(c, restored{id, c.Args().Get(1)},
					[]table{{[]string{"snapshot", "folder"}, [][]string{{string(id), c.Args().Get(1)}}}})
			}),
			exportCommand(), importCommand(), pruneCommand(),
		},
	}
}

// What the commands of snapshot answer, as JSON.
type (
	restored struct {
		Snapshot snapshots.ID `json:"snapshot"`
		Folder   string       `json:"folder"`
	}
	created struct {
		Snapshot snapshots.ID `json:"snapshot"`
	}
	listed struct {
		Snapshot snapshots.ID `json:"snapshot"`
		Name     string       `json:"name"` // of the agent
		Refs     []string     `json:"refs"` // that point to it
	}
	contents struct {
		Snapshot snapshots.ID   `json:"snapshot"`
		Name     string         `json:"name"` // of the agent
		Parents  []snapshots.ID `json:"parents"`
		Files    []shownFile    `json:"files"`
	}
	shownFile struct {
		Path       string `json:"path"`
		Bytes      int    `json:"bytes"`
		Executable bool   `json:"executable"`
	}
	checked struct {
		Snapshots int `json:"snapshots"`
		Damaged   int `json:"damaged"`
		Unused    int `json:"unused_chunks"`
	}
)

func createCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "capture an agent's folder: live at first, a candidate once it is served", ArgsUsage: "NAME DIR",
		Flags: append(outputFlags(), &cli.BoolFlag{Name: "verify", Usage: "read every file again, though it looks as it did at the last capture"}),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "NAME", "DIR"); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error { return createSnapshot(c, lab, c.Args().Get(0), c.Args().Get(1)) })
		},
	}
}

func createSnapshot(c *cli.Context, lab *experiments.Lab, name, dir string) error {
	id, err := lab.Capture(name, dir, c.Bool("verify"))
	if err != nil {
		return err
	}
	if live, err := lab.Vault.Ref(name + "/live"); err == nil && live == id {
		say("%s/live is now %.12s", name, id)
	}
	return emit(c, created{id}, []table{{[]string{"snapshot"}, [][]string{{string(id)}}}})
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
	items, rows := []listed{}, [][]string{}
	for _, id := range ids {
		name, err := lab.Vault.Name(id)
		if err != nil {
			return err
		}
		i := listed{id, name, []string{}}
		for _, ref := range slices.Sorted(maps.Keys(refs)) {
			if refs[ref] == id {
				i.Refs = append(i.Refs, ref)
			}
		}
		items = append(items, i)
		rows = append(rows, []string{fmt.Sprintf("%.12s", id), name, strings.Join(i.Refs, " ")})
	}
	if len(ids) == 0 && c.String("output") == "table" {
		say("no snapshots in %s yet; `jird snapshot create NAME DIR` makes one, and a first run does", lab.Home)
		return nil
	}
	return emit(c, items, []table{{[]string{"snapshot", "name", "refs"}, rows}})
}

func showSnapshot(c *cli.Context, lab *experiments.Lab) error {
	id, err := lab.Vault.Find(c.Args().First())
	if err != nil {
		return err
	}
	image, err := lab.Vault.Get(id)
	if err != nil {
		return err
	}
	files, rows := []shownFile{}, [][]string{}
	for _, f := range image.Files {
		files = append(files, shownFile{f.Path, len(f.Data), f.Executable})
		rows = append(rows, []string{fmt.Sprint(len(f.Data)), f.Path})
	}
	parents := append([]snapshots.ID{}, image.Parents...)
	lines := []string{fmt.Sprintf("agent %s, snapshot %s", image.Name, id)}
	for _, parent := range parents {
		lines = append(lines, "made from "+string(parent))
	}
	return emit(c, contents{id, image.Name, parents, files}, []table{{[]string{"bytes", "file"}, rows}}, lines...)
}

func checkSnapshots(c *cli.Context, lab *experiments.Lab) error {
	found := lab.Vault.Check()
	for _, d := range found.Damage {
		say("%v", d)
	}
	if found.Unused > 0 {
		say("%d chunks belong to no snapshot: what an interrupted capture left; they do no harm, and `jird snapshot prune` removes them", found.Unused)
	}
	damaged := len(found.Damage)
	err := emit(c, checked{found.Images, damaged, found.Unused},
		[]table{{[]string{"snapshots", "damaged", "unused chunks"}, [][]string{{fmt.Sprint(found.Images), fmt.Sprint(damaged), fmt.Sprint(found.Unused)}}}})
	if err == nil && damaged > 0 {
		return fmt.Errorf("the vault has %d damages: %w", damaged, found.Damage[0])
	}
	return err
}
