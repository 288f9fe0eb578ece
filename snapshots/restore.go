package snapshots

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"jird/snapshots/sexpr"
)

// Restore writes an image into a folder that does not exist yet or is empty. Where it
// cannot write all of it, every byte verified, it leaves the folder empty.
func (v *Vault) Restore(id ID, dir string) error {
	from := v.either(v.sayStep)
	m, err := getManifest(from, id)
	if err != nil {
		return err
	}
	text, err := getBytes(from, m.memory)
	if err != nil {
		return fmt.Errorf("memory of snapshot %s: %w", id, err)
	}
	if _, err := sexpr.DecodeCanonical(text); err != nil {
		return &DamageError{"manifests/" + string(id), fmt.Sprintf("the memory is damaged (%v)", err)}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("restoring into a new folder: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%s is not empty: restore into a new folder", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := restoreFiles(from, root, m.files); err != nil {
		return errors.Join(fmt.Errorf("restoring snapshot %s into %s: %w", id, dir, err), empty(root))
	}
	return nil
}

func restoreFiles(from source, root *os.Root, files []entry) error {
	var g errgroup.Group
	g.SetLimit(filesAtOnce)
	made := map[string]bool{}
	for _, e := range files {
		if dir := filepath.Dir(e.path); !made[dir] {
			if err := root.MkdirAll(dir, 0o755); err != nil {
				return errors.Join(err, g.Wait())
			}
			made[dir] = true
		}
		g.Go(func() error { return restoreFile(from, root, e) })
	}
	return g.Wait()
}

func restoreFile(from source, root *os.Root, e entry) error {
	mode := fs.FileMode(0o644)
	if e.executable {
		mode = 0o755
	}
	f, err := root.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	left := e.size
	for _, hash := range e.chunks {
		plain, err := from.chunk(hash)
		if err == nil {
			left -= int64(len(plain))
			_, err = f.Write(plain)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("file %s: %w", e.path, err), f.Close())
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if left != 0 {
		return &DamageError{e.path, fmt.Sprintf("the file has %d bytes, not %d", e.size-left, e.size)}
	}
	return nil
}

// empty takes away what was written into a folder that was empty.
func empty(root *os.Root) error {
	names, err := fs.ReadDir(root.FS(), ".")
	for _, name := range names {
		err = errors.Join(err, root.RemoveAll(name.Name()))
	}
	return err
}
