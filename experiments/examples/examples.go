// Package examples holds complete experiments that run at once.
package examples

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed blank dilemma packer packer-duel packer-open self-destruct sortnet
var files embed.FS

// shared are files that an example takes from another one, or has twice: where they
// come from, by where they go.
var shared = map[string]map[string]string{
	"packer-duel": {"agent/agent.scm": "packer/agent/agent.scm", "agent/policy.scm": "packer/agent/policy.scm"},
	"sortnet":     {"agent-16/agent.scm": "sortnet/agent/agent.scm", "agent-16/match.scm": "sortnet/agent/match.scm"},
}

// ErrRefused is wrapped when nothing was tried, for what the caller asked.
var ErrRefused = errors.New("no example was written")

// Names lists the examples.
func Names() []string {
	var names []string
	entries, _ := files.ReadDir(".") // embedded: it is there
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Write copies an example into a folder that is new or empty.
func Write(name, dir string) error {
	sub, err := fs.Sub(files, name)
	if err == nil {
		_, err = fs.Stat(sub, "agent")
	}
	if err != nil {
		return fmt.Errorf("%w: there is no example %q; use one of %v", ErrRefused, name, Names())
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%w: %s is not empty; name a new folder", ErrRefused, dir)
	}
	if err := fs.WalkDir(sub, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return place(sub, path, filepath.Join(dir, path))
		}
		return os.MkdirAll(filepath.Join(dir, path), 0o755)
	}); err != nil {
		return err
	}
	for to, from := range shared[name] {
		if err := place(files, from, filepath.Join(dir, to)); err != nil {
			return err
		}
	}
	return nil
}

func place(from fs.FS, path, to string) error {
	data, err := fs.ReadFile(from, path)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
