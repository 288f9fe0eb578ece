package snapshots

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// CopyError says that the second copy of a vault is behind the first, or cannot
// be read.
type CopyError struct {
	Dir string
	Err error
}

func (e *CopyError) Error() string {
	return fmt.Sprintf("the second copy %s is behind or cannot be read: %v; it catches up with the next write once the cause is gone", e.Dir, e.Err)
}

// Unwrap returns the cause.
func (e *CopyError) Unwrap() error { return e.Err }

// mirror brings the second copy up to the first: not only the last write, for the
// copy may have been away for some of them, or be new.
func (v *Vault) mirror() {
	if v.second.Load() == nil {
		return
	}
	v.mirroring.Lock()
	defer v.mirroring.Unlock()
	second := v.second.Load()
	err := v.catchUp(second)
	if err == nil {
		return
	}
	v.say(&CopyError{second.dir, err})
	// As if closed and opened: the next try begins with a disk that may be another.
	v.second.Store(v.at(second.dir))
}

func (v *Vault) catchUp(second *Vault) error {
	if err := second.makeDirs(); err != nil {
		return err
	}
	if err := v.copyManifests(second); err != nil {
		return err
	}
	return v.copyRefs(second)
}

func (v *Vault) copyManifests(second *Vault) error {
	for _, w := range []*Vault{v, second} { // always in this order
		end, err := w.begin()
		if err != nil {
			return err
		}
		defer end()
	}
	dirs, err := v.list("checkpoints")
	if err != nil {
		return err
	}
	var damage error // does not keep the others from being copied
	for _, dir := range dirs {
		damage = errors.Join(damage, v.copyFolder(second, filepath.Join("checkpoints", dir), checkpointChunks))
	}
	return errors.Join(damage, v.copyFolder(second, "manifests", imageChunks))
}

// copyFolder copies the manifests of one folder, and their chunks before them.
func (v *Vault) copyFolder(second *Vault, rel string, chunksOf func([]byte) ([]string, error)) error {
	if err := second.makeDir(second.path(rel)); err != nil {
		return err
	}
	names, err := v.list(rel)
	if err != nil {
		return err
	}
	there, err := second.list(rel)
	if err != nil {
		return err
	}
	var damage error
	for _, name := range names {
		if _, found := slices.BinarySearch(there, name); !found {
			damage = errors.Join(damage, v.copyManifest(second, filepath.Join(rel, name), chunksOf))
		}
	}
	// Also without a new name: the last try may have ended before its sync.
	return errors.Join(damage, second.syncDir(second.path(rel)))
}

func (v *Vault) copyManifest(second *Vault, rel string, chunksOf func([]byte) ([]string, error)) error {
	data, err := v.file(rel)
	if err != nil {
		return err
	}
	chunks, err := chunksOf(data)
	if err != nil {
		return fmt.Errorf("%s: %w", v.path(rel), err)
	}
	b := second.newBatch()
	defer b.close()
	for _, hash := range chunks {
		if has, err := b.has(hash); err != nil {
			return err
		} else if has {
			continue
		}
		plain, err := v.chunk(hash)
		if err != nil {
			return err
		}
		if _, err := b.put(plain); err != nil {
			return err
		}
	}
	return b.seal(second.path(rel), data)
}

func imageChunks(data []byte) ([]string, error) {
	m, err := decodeManifest(data)
	if err != nil {
		return nil, err
	}
	return m.chunks(), nil
}

func checkpointChunks(data []byte) ([]string, error) {
	m, err := decodeCheckpoint(data)
	if err != nil {
		return nil, err
	}
	return m.chunks(), nil
}

// copyRefs makes the copy's refs equal to the first's, while nobody swaps one.
func (v *Vault) copyRefs(second *Vault) error {
	for _, w := range []*Vault{v, second} {
		unlock, err := w.fs.Lock(w.path("refs/.lock"), false)
		if err != nil {
			return err
		}
		defer unlock()
	}
	refs, err := v.Refs()
	if err != nil {
		return err
	}
	for name, id := range refs {
		now, err := second.Ref(name)
		var damage *DamageError
		if err != nil && !errors.Is(err, ErrNoRef) && !errors.As(err, &damage) {
			return err
		}
		if now == id && err == nil {
			continue
		}
		if err := second.writeRef(second.path("refs", name), id); err != nil {
			return err
		}
	}
	return nil
}
