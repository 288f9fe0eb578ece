package orchestrator

import (
	"path"

	"jird/population"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// DefinitionChange is a top-level definition in which two images differ.
type DefinitionChange struct {
	File string `json:"file"`
	snapshots.ValueChange
}

// DiffDefinitions compares the top-level definitions of two images' Scheme files, by
// file and name. An evolved definition is compared as it reads, whether it stands there
// plain or as jird writes a promoted one. A file that cannot be read has none.
func DiffDefinitions(a, b *snapshots.Image) []DefinitionChange {
	changes := []DefinitionChange{}
	seen := map[string]bool{}
	for _, im := range []*snapshots.Image{a, b} {
		for _, f := range im.Files {
			if path.Ext(f.Path) != ".scm" || seen[f.Path] {
				continue
			}
			seen[f.Path] = true
			for _, c := range snapshots.DiffValues(definitions(a.File(f.Path)), definitions(b.File(f.Path))) {
				changes = append(changes, DefinitionChange{f.Path, c})
			}
		}
	}
	return changes
}

// definitions are the canonical texts of a file's definitions by name.
func definitions(f *snapshots.File) map[string]string {
	all := map[string]string{}
	if f == nil {
		return all
	}
	forms, err := sexpr.ReadAll(f.Data)
	if err != nil {
		return all
	}
	for _, form := range forms {
		form = unwrapPolicy(form)
		if name := population.Defined(form); name != "" {
			if text, err := sexpr.Canonical(form); err == nil {
				all[name] = string(text)
			}
		}
	}
	return all
}
