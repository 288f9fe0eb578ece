package main

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"jird/experiments"
	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/orchestrator/guard"
	"jird/orchestrator/serve"
)

// answers is what each command prints with --output json.
var answers = []struct {
	commands string
	answer   any
}{
	{"`run`, `resume`", orchestrator.Result{}},
	{"`run --matrix`, `compare`", experiments.Comparison{}},
	{"`tournament`, `resume` and `report` of a tournament", orchestrator.Standings{}},
	{"`report` of a run, `run --watch`", ledger.Report{}},
	{"`evaluate`", experiments.Evaluation{}},
	{"`replay RUN GENOME`", experiments.ReplayedGenome{}},
	{"`replay TOURNAMENT MATCH`", experiments.ReplayedMatch{}},
	{"`status`", status{}},
	{"`status --agent`, `GET /v1/status`", guard.Status{}},
	{"`explain`, `promote`", ledger.Explanation{}},
	{"`promote --force`, `rollback`, `POST /v1/promote` and `/v1/rollback`", serve.Ended{}},
	{"`ledger import`", ledger.Imported{}},
	{"`ledger check`", ledger.Checked{}},
	{"`wal verify`", experiments.JournalReport{}},
	{"`snapshot create`", created{}},
	{"`snapshot list`", []listed{}},
	{"`snapshot show`", contents{}},
	{"`snapshot diff`", difference{}},
	{"`snapshot check`", checked{}},
	{"`snapshot restore`", restored{}},
	{"`snapshot import`", experiments.Arrival{}},
	{"`snapshot prune`", pruned{}},
	{"`doctor`", []finding{}},
	{"`version`", build{}},
}

// The page names every field that a command prints, with its type, and no other: it is the
// schema, and these are the types that are encoded.
func TestJSONIsAsThePageSays(t *testing.T) {
	data, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(data), "\n## ")
	var said []string
	for line := range strings.Lines("## " + page) {
		line = strings.TrimSpace(line)
		switch cells := strings.Split(line, "|"); {
		case strings.HasPrefix(line, "## "):
			said = append(said, line)
		case len(cells) == 5 && strings.HasPrefix(cells[1], " `"):
			said = append(said, strings.TrimSpace(cells[1])+" "+strings.TrimSpace(cells[2]))
			if strings.TrimSpace(cells[3]) == "" {
				t.Errorf("%s: nothing says what it is", cells[1])
			}
		}
	}
	wanted := schema()
	if !slices.Equal(said, wanted) {
		for i := range max(len(said), len(wanted)) {
			if i >= len(said) || i >= len(wanted) || said[i] != wanted[i] {
				t.Fatalf("line %d of the tables of docs/json.md\nsays   %q\nshould %q", i, said[min(i, len(said)):min(i+3, len(said))], wanted[min(i, len(wanted)):min(i+3, len(wanted))])
			}
		}
	}
}

// schema is what the page must say: a heading for each answer and each type in it, followed
// by the fields with their types.
func schema() (lines []string) {
	known := map[reflect.Type]bool{}
	var later []reflect.Type
	name := func(t reflect.Type) string { return typeName(t, func(t reflect.Type) { later = append(later, t) }) }
	for _, a := range answers {
		t := reflect.TypeOf(a.answer)
		heading := "## " + a.commands
		if t.Kind() == reflect.Slice {
			heading += ": a list"
			t = t.Elem()
		}
		lines = append(append(lines, heading), fields(t, name)...)
		known[t] = true
	}
	for len(later) > 0 {
		t := later[0]
		if later = later[1:]; known[t] {
			continue
		}
		known[t] = true
		lines = append(append(lines, "## "+t.Name()), fields(t, name)...)
	}
	return lines
}

func fields(t reflect.Type, name func(reflect.Type) string) (lines []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "": // its fields stand among these
			lines = append(lines, fields(f.Type, name)...)
			continue
		case !f.IsExported() || tag == "-":
			continue
		}
		kind := name(f.Type)
		if options == "omitempty" {
			kind += ", may be absent"
		}
		lines = append(lines, fmt.Sprintf("`%s` %s", tag, kind))
	}
	return lines
}

func typeName(t reflect.Type, see func(reflect.Type)) string {
	if t.Kind() == reflect.Pointer {
		return typeName(t.Elem(), see) + " or null"
	}
	if t == reflect.TypeOf([]byte(nil)) || t.Name() == "RawMessage" {
		return "JSON"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + typeName(t.Elem(), see)
	case reflect.Array:
		return fmt.Sprintf("list of %d: %s", t.Len(), typeName(t.Elem(), see))
	case reflect.Map:
		return typeName(t.Elem(), see) + " by name"
	case reflect.Struct:
		if t.Name() == "Time" {
			return "text"
		}
		see(t)
		return t.Name()
	}
	return "whole number"
}
