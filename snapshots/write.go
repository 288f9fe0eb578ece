package snapshots

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"jird/snapshots/disk"
)

// begin keeps KeepCheckpoints and Prune out while chunks are written that no manifest
// names yet.
func (v *Vault) begin() (end func() error, err error) {
	if err := v.failed(); err != nil {
		return nil, err
	}
	return v.fs.Lock(v.path("chunks/.lock"), true)
}

// failed is not nil after a sync that failed: what the kernel says about the
// files of this process after that is worth nothing (see disk.File).
func (v *Vault) failed() error {
	if err := v.broken.Load(); err != nil {
		return fmt.Errorf("nothing more is written to the vault by this process, because its disk failed before (%w); check the disk and start again", *err)
	}
	return nil
}

func (v *Vault) synced(err error) error {
	if err != nil {
		v.broken.CompareAndSwap(nil, &err)
	}
	return err
}

func (v *Vault) syncDir(dir string) error { return v.synced(v.fs.SyncDir(dir)) }

// makeDir makes a folder durably. One that is there already may be of a process
// that was killed before it could sync, so it is synced again.
func (v *Vault) makeDir(dir string) error {
	err := v.fs.Mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = v.makeDir(filepath.Dir(dir)); err == nil {
			err = v.fs.Mkdir(dir)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return v.syncDir(filepath.Dir(dir))
}

// replace puts a file in place: it is synced before it gets its name, so that a
// crash leaves the old file or the new. The name is durable when its folder has
// been synced.
func (v *Vault) replace(path string, data []byte) error {
	t, err := v.writeTemp(path, data, true)
	if err != nil {
		return err
	}
	return v.place(t)
}

// temp is a file that is written and has not got its name.
type temp struct{ name, path string }

func (v *Vault) writeTemp(path string, data []byte, sync bool) (temp, error) {
	f, err := v.fs.CreateTemp(filepath.Dir(path))
	if err != nil {
		return temp{}, fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = v.synced(f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return temp{}, errors.Join(fmt.Errorf("writing %s: %w", path, err), v.fs.Remove(f.Name()))
	}
	return temp{f.Name(), path}, nil
}

func (v *Vault) place(t temp) error {
	if err := v.fs.Rename(t.name, t.path); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", t.path, err), v.fs.Remove(t.name))
	}
	return nil
}

// write replaces a file durably in a folder that exists.
func (v *Vault) write(path string, data []byte) error {
	if err := v.replace(path, data); err != nil {
		return err
	}
	return v.syncDir(filepath.Dir(path))
}

// batch is the chunks of one manifest on their way to the disk. They may be put by
// several goroutines at once, and it is sealed by one when they are done.
//
// The first few chunks are synced each: a small batch must not wait for all that others
// have written to the disk. If there are more, the rest is synced in groups.
type batch struct {
	vault *Vault
	mu    sync.Mutex
	dirs  map[string]bool // whose names must be synced; they exist
	taken map[string]bool // hashes of the chunks that were put, or are being put
	few   int             // chunks that are still to be synced each
	group disk.Group      // nil until few is 0
	temps []temp          // of the group, not synced

	settling sync.Mutex // an error of the group's Sync must reach who waits for it
}

func (v *Vault) newBatch() *batch {
	return &batch{vault: v, dirs: map[string]bool{}, taken: map[string]bool{}, few: v.few}
}

// close takes away what was put since the last seal.
func (b *batch) close() error {
	var err error
	for _, t := range b.temps {
		err = errors.Join(err, b.vault.fs.Remove(t.name))
	}
	if b.group != nil {
		err = errors.Join(err, b.group.Close())
	}
	return err
}

// take says whether a chunk has not been put in this batch before.
func (b *batch) take(hash string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken[hash] {
		return false
	}
	b.taken[hash] = true
	return true
}

func (b *batch) noted(dir string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dirs[dir]
}

func (b *batch) note(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirs[dir] = true
}

// has says whether a chunk is stored and whole. It reads all of it: a manifest
// must not lean on a chunk that has rotted.
func (b *batch) has(hash string) (bool, error) {
	path := b.vault.chunkPath(hash)
	_, err := b.vault.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		_, err = b.vault.chunk(hash)
	}
	var damage *DamageError
	switch {
	case err == nil:
		b.note(filepath.Dir(path))
		return true, nil
	case !errors.As(err, &damage):
		return false, err
	}
	_, err = b.vault.quarantine(path)
	return false, err
}

// put stores a chunk unless it is there. It is durable after seal.
func (b *batch) put(plain []byte) (string, error) {
	hash := hashOf(plain)
	if !b.take(hash) {
		return hash, nil
	}
	has, err := b.has(hash)
	if has || err != nil {
		return hash, err
	}
	path := b.vault.chunkPath(hash)
	if dir := filepath.Dir(path); !b.noted(dir) {
		if err := b.vault.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		b.note(dir)
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	return hash, b.write(path, b.vault.encoder.EncodeAll(plain, (*buffer)[:0]))
}

func (b *batch) write(path string, data []byte) error {
	grouped, err := b.grouped()
	if err != nil {
		return err
	}
	if !grouped {
		return b.vault.replace(path, data)
	}
	t, err := b.vault.writeTemp(path, data, false)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.temps = append(b.temps, t)
	full := len(b.temps) >= b.vault.many
	b.mu.Unlock()
	if full {
		return b.settle()
	}
	return nil
}

// grouped says whether the next chunk is of the group, which it begins.
func (b *batch) grouped() (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.few > 0 {
		b.few--
		return false, nil
	}
	var err error
	if b.group == nil {
		b.group, err = b.vault.fs.Group(b.vault.path("chunks"))
	}
	return true, err
}

// settle makes the chunks that have been written since it was last called durable, and
// then gives them their names.
func (b *batch) settle() error {
	b.settling.Lock()
	defer b.settling.Unlock()
	b.mu.Lock()
	temps := b.temps
	b.temps = nil
	b.mu.Unlock()
	if len(temps) == 0 {
		return nil
	}
	err := b.vault.synced(b.group.Sync())
	for _, t := range temps {
		if err == nil {
			err = b.vault.place(t)
		} else {
			err = errors.Join(err, b.vault.fs.Remove(t.name))
		}
	}
	return err
}

// syncNames makes the names of all chunks durable that were put or found.
func (b *batch) syncNames() error {
	if b.group != nil {
		return b.vault.synced(b.group.Sync())
	}
	if len(b.dirs) > 0 {
		b.dirs[b.vault.path("chunks")] = true
	}
	for dir := range b.dirs {
		if err := b.vault.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// seal writes the manifest after all that it names is durable, also what was
// there before: another process may have been killed before it could sync.
func (b *batch) seal(path string, manifest []byte) error {
	if err := b.settle(); err != nil {
		return err
	}
	if err := b.syncNames(); err != nil {
		return err
	}
	stored, err := b.vault.fs.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(stored, manifest): // written again, so that Prune sees it put now
	case err == nil:
		_, err = b.vault.quarantine(path)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return err
	}
	return b.vault.write(path, manifest)
}

// quarantine moves a damaged file, if it is there, to where a person finds it,
// under the time and its path in the vault; it returns the new path.
func (v *Vault) quarantine(path string) (string, error) {
	rel, err := filepath.Rel(v.dir, path)
	if err != nil {
		return "", err
	}
	to := v.path("quarantine", time.Now().UTC().Format("20060102T150405.000000000Z")+"-"+strings.ReplaceAll(rel, string(filepath.Separator), "-"))
	if err := v.fs.Rename(path, to); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("quarantining %s: %w", path, err)
	}
	// The new name first: a crash between leaves both rather than none.
	return to, errors.Join(v.syncDir(filepath.Dir(to)), v.syncDir(filepath.Dir(path)))
}
