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

//go:embed dilemma packer packer-duel self-destruct
var files embed.FS

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
		_, err = fs.Stat(sub, "agent/agent.scm")
	}
	if err != nil {
		return fmt.Errorf("%w: there is no example %q; use one of %v", ErrRefused, name, Names())
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%w: %s is not empty; name a new folder", ErrRefused, dir)
	}
	return fs.WalkDir(sub, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, path)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		data, err := fs.ReadFile(sub, path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	})
}
