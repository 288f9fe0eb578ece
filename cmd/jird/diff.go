package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/orchestrator"
	"jird/snapshots"
)

// difference is what differs between two images, as JSON.
type difference struct {
	A           snapshots.ID                    `json:"a"`
	B           snapshots.ID                    `json:"b"`
	Files       []snapshots.FileChange          `json:"files"`
	Definitions []orchestrator.DefinitionChange `json:"definitions"`
	Memory      []snapshots.ValueChange         `json:"memory"`
}

func diffSnapshots(c *cli.Context, lab *experiments.Lab) error {
	var d difference
	var images [2]*snapshots.Image
	for i, id := range []*snapshots.ID{&d.A, &d.B} {
		var err error
		if *id, err = lab.Vault.Find(c.Args().Get(i)); err != nil {
			return err
		}
		if images[i], err = lab.Vault.Get(*id); err != nil {
			return err
		}
	}
	d.Files = snapshots.DiffFiles(images[0], images[1])
	d.Definitions = orchestrator.DiffDefinitions(images[0], images[1])
	var err error
	if d.Memory, err = snapshots.DiffMemory(images[0], images[1]); err != nil {
		return err
	}
	tables, lines := d.tables()
	return emit(c, d, tables, lines...)
}

func (d difference) tables() (tables []table, lines []string) {
	files := table{header: []string{"change", "file"}}
	for _, f := range d.Files {
		what := f.Change
		if f.Executable {
			what += ", executable bit"
		}
		files.rows = append(files.rows, []string{what, f.Path})
		if f.Lines != "" {
			lines = append(lines, strings.TrimSuffix(f.Lines, "\n"))
		}
	}
	definitions := table{header: []string{"change", "file", "definition"}}
	for _, v := range d.Definitions {
		definitions.rows = append(definitions.rows, sidesOf(v.ValueChange, v.File)...)
	}
	memory := table{header: []string{"change", "memory", "value"}}
	for _, v := range d.Memory {
		memory.rows = append(memory.rows, sidesOf(v, v.Name)...)
	}
	for _, t := range []table{files, definitions, memory} {
		if len(t.rows) > 0 {
			tables = append(tables, t)
		}
	}
	if len(tables) == 0 {
		lines = append(lines, fmt.Sprintf("%.12s and %.12s have the same files and memory", d.A, d.B))
	}
	return tables, lines
}

// sidesOf are the rows of one change: a line for each side that there is.
func sidesOf(v snapshots.ValueChange, where string) (rows [][]string) {
	if v.Change != snapshots.Added {
		rows = append(rows, []string{"-", where, v.Before})
	}
	if v.Change != snapshots.Removed {
		rows = append(rows, []string{"+", where, v.After})
	}
	return rows
}
