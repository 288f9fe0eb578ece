// Package jird_test holds the rules that no single package can check.
package jird_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// may lists, for each layer, the layers below that it may import.
var may = map[string][]string{
	"jird/docs":         {},
	"jird/cmd":          {"jird/docs", "jird/experiments", "jird/orchestrator", "jird/population", "jird/sandbox", "jird/snapshots"},
	"jird/experiments":  {"jird/orchestrator", "jird/population", "jird/sandbox", "jird/snapshots"},
	"jird/orchestrator": {"jird/population", "jird/sandbox", "jird/snapshots"},
	"jird/population":   {"jird/snapshots"},
	"jird/sandbox":      {"jird/snapshots"},
	"jird/snapshots":    {},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages", len(all))
	}
	return all
}

func layer(path string) string {
	parts := strings.Split(path, "/")
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func TestImportsGoDownward(t *testing.T) {
	for _, p := range packages(t) {
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, "jird/") || layer(i) == layer(p.ImportPath) {
				continue
			}
			if !slices.Contains(may[layer(p.ImportPath)], layer(i)) {
				t.Errorf("%s must not import %s", p.ImportPath, i)
			}
		}
	}
}

// Each foreign library has one importer, so that it can be replaced in one place.
func TestEachLibraryHasOneImporter(t *testing.T) {
	importers := map[string][]string{}
	for _, p := range packages(t) {
		for _, i := range p.Imports {
			first, _, _ := strings.Cut(i, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(i, "golang.org/x/") {
				continue
			}
			parts := strings.Split(i, "/")
			library := strings.Join(parts[:min(3, len(parts))], "/")
			if !slices.Contains(importers[library], p.ImportPath) {
				importers[library] = append(importers[library], p.ImportPath)
			}
		}
	}
	for library, by := range importers {
		if len(by) != 1 {
			t.Errorf("%s is imported by %v", library, by)
		}
	}
	if !slices.Equal(importers["github.com/MaxHalford/eaopt"], []string{"jird/population/ga"}) {
		t.Errorf("eaopt is imported by %v", importers["github.com/MaxHalford/eaopt"])
	}
}

// Programs are started in one place.
func TestOnlySandboxStartsPrograms(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains(p.Imports, "os/exec") && p.ImportPath != "jird/sandbox" {
			t.Errorf("%s imports os/exec", p.ImportPath)
		}
	}
}
