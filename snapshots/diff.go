package snapshots

import (
	"bytes"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"jird/snapshots/sexpr"
)

// How something differs between two images.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// FileChange is a file that only one of two images has, or that differs.
type FileChange struct {
	Path   string `json:"path"`
	Change string `json:"change"`
	// Executable says that the file may be run in one image and not in the other.
	Executable bool   `json:"executable_changed"`
	Lines      string `json:"lines"` // unified diff; empty where a side is no text, or is large
}

// ValueChange is something with a name whose canonical text differs. What an image does
// not have is "".
type ValueChange struct {
	Name   string `json:"name"`
	Change string `json:"change"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// maxDiffed is the most bytes of a file whose lines are compared: beyond that nobody
// reads them.
const maxDiffed = 1 << 20

// DiffFiles returns what differs between the files of two images, by path.
func DiffFiles(a, b *Image) []FileChange {
	changes := []FileChange{}
	for _, path := range union(byPath(a), byPath(b)) {
		before, after := a.File(path), b.File(path)
		c := FileChange{Path: path, Change: Changed}
		switch {
		case before == nil:
			c.Change, before = Added, &File{Path: path}
		case after == nil:
			c.Change, after = Removed, &File{Path: path}
		case bytes.Equal(before.Data, after.Data) && before.Executable == after.Executable:
			continue
		default:
			c.Executable = before.Executable != after.Executable
		}
		if text(before.Data) && text(after.Data) {
			c.Lines = string(diff.Diff("a/"+path, before.Data, "b/"+path, after.Data))
		}
		changes = append(changes, c)
	}
	return changes
}

func byPath(im *Image) map[string]bool {
	paths := map[string]bool{}
	for _, f := range im.Files {
		paths[f.Path] = true
	}
	return paths
}

func text(b []byte) bool {
	return len(b) <= maxDiffed && utf8.Valid(b) && !bytes.ContainsRune(b, 0)
}

// DiffMemory returns the entries in which the memories of two images differ, by the
// canonical text of their keys. A memory that is no list of pairs is one entry.
func DiffMemory(a, b *Image) ([]ValueChange, error) {
	before, err := entries(a.Memory)
	if err != nil {
		return nil, err
	}
	after, err := entries(b.Memory)
	if err != nil {
		return nil, err
	}
	return DiffValues(before, after), nil
}

// DiffValues compares texts by name.
func DiffValues(before, after map[string]string) []ValueChange {
	changes := []ValueChange{}
	for _, name := range union(before, after) {
		c := ValueChange{Name: name, Change: Changed, Before: before[name], After: after[name]}
		_, was := before[name]
		_, is := after[name]
		switch {
		case !was:
			c.Change = Added
		case !is:
			c.Change = Removed
		case c.Before == c.After:
			continue
		}
		changes = append(changes, c)
	}
	return changes
}

func union[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// entries are the canonical texts of a memory, by key. Of two with one key the first
// counts, as for assoc.
func entries(memory sexpr.Value) (map[string]string, error) {
	all := map[string]string{}
	list, ok := memory.(sexpr.List)
	for _, item := range list {
		key, value, isPair := sexpr.Pair(item)
		if ok = ok && isPair; !ok {
			break
		}
		name, err := sexpr.Canonical(key)
		if err != nil {
			return nil, err
		}
		text, err := sexpr.Canonical(value)
		if err != nil {
			return nil, err
		}
		if _, taken := all[string(name)]; !taken {
			all[string(name)] = string(text)
		}
	}
	if ok || memory == nil {
		return all, nil
	}
	whole, err := sexpr.Canonical(memory)
	return map[string]string{"(all of it)": string(whole)}, err
}
