package snapshots

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"jird/snapshots/disk"
)

// counted counts the chunks that a vault's disk is asked to read or make.
type counted struct {
	disk.OS
	chunks atomic.Int64
}

func (c *counted) ReadFile(name string) ([]byte, error) {
	if strings.Contains(name, "/chunks/") {
		c.chunks.Add(1)
	}
	return c.OS.ReadFile(name)
}

func countedVault(t *testing.T) (*Vault, *counted) {
	t.Helper()
	d := &counted{}
	v, err := OpenWith(t.TempDir(), Options{Disk: d})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v, d
}

// tree is a folder whose files were changed long ago; ctimes cannot be set, so the
// index is dated forward instead: see settle.
func tree(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%03d", i)), fmt.Append(nil, "file ", i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "memory.scm"), []byte("((a . 1))"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func captured(t testing.TB, v *Vault, dir string, verify bool) ID {
	t.Helper()
	id, err := v.Capture("a", dir, nil, verify)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// settle changes the index of a folder as if its capture had begun later.
func settle(t testing.TB, v *Vault, dir string, by time.Duration) {
	t.Helper()
	x := v.readIndex(v.indexPath(dir, "a"))
	if x == nil {
		t.Fatal("no index")
	}
	x.Began = x.Began.Add(by)
	if err := v.putIndex(dir, "a", *x); err != nil {
		t.Fatal(err)
	}
}

// wantWhole wants the last capture to be what ReadDir and Put make of the folder.
func wantWhole(t testing.TB, v *Vault, dir string, id ID) {
	t.Helper()
	if want := put(t, vault(t), dir); want != id {
		t.Errorf("captured %s, the folder is %s", id, want)
	}
	if _, err := v.Get(id); err != nil {
		t.Error(err)
	}
}

func TestCaptureReadsOnlyWhatMayHaveChanged(t *testing.T) {
	v, d := countedVault(t)
	dir := tree(t, 30)
	wantWhole(t, v, dir, captured(t, v, dir, false))
	touched := func(verify bool) int64 {
		t.Helper()
		d.chunks.Store(0)
		id := captured(t, v, dir, verify)
		n := d.chunks.Load()
		wantWhole(t, v, dir, id)
		return n
	}
	// A moment after they were written, nothing can be known by looking.
	if n := touched(false); n < 31 {
		t.Errorf("young files: only %d chunks were looked at", n)
	}
	settle(t, v, dir, time.Hour)
	if n := touched(false); n > 1 { // the memory
		t.Errorf("nothing changed: %d chunks were looked at", n)
	}
	settle(t, v, dir, time.Hour)
	if err := os.WriteFile(filepath.Join(dir, "f003"), []byte("fiLe 3"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "f004")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), []byte("new"), 0o755); err != nil {
		t.Fatal(err)
	}
	if n := touched(false); n > 3 {
		t.Errorf("two files changed: %d chunks were looked at", n)
	}
	settle(t, v, dir, time.Hour)
	if n := touched(true); n < 31 {
		t.Errorf("verify looked at %d chunks", n)
	}
}

// However a file is changed behind the index's back, the change is seen: its times are
// set back, it is replaced by another of the same size and time, it gets the bit.
func TestNoChangeIsOverlooked(t *testing.T) {
	for name, change := range map[string]func(path string, was os.FileInfo) error{
		"time set back": func(path string, was os.FileInfo) error {
			return errors.Join(os.WriteFile(path, []byte("fiLe 3"), 0o644), os.Chtimes(path, was.ModTime(), was.ModTime()))
		},
		"replaced": func(path string, was os.FileInfo) error {
			other := path + ".new"
			return errors.Join(os.WriteFile(other, []byte("fiLe 3"), 0o644), os.Chtimes(other, was.ModTime(), was.ModTime()), os.Rename(other, path))
		},
		"bit":      func(path string, _ os.FileInfo) error { return os.Chmod(path, 0o755) },
		"appended": func(path string, _ os.FileInfo) error { return os.WriteFile(path, []byte("file 3 and more"), 0o644) },
	} {
		v := vault(t)
		dir := tree(t, 5)
		first := captured(t, v, dir, false)
		settle(t, v, dir, time.Hour)
		path := filepath.Join(dir, "f003")
		was, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // a step of the kernel's clock
		if err := change(path, was); err != nil {
			t.Fatal(err)
		}
		second := captured(t, v, dir, false)
		if second == first {
			t.Errorf("%s: the change was overlooked", name)
		}
		wantWhole(t, v, dir, second)
	}
}

// A file that was changed within the tick in which it was looked at looks the same: it
// must be read again as long as its times are not older than the index.
func TestRacyFilesAreReadAgain(t *testing.T) {
	v := vault(t)
	dir := tree(t, 5)
	captured(t, v, dir, false)
	// The index says, as it would after a change within the tick, that the file looked as
	// it does now; its image holds other bytes.
	path := filepath.Join(dir, "f003")
	if err := os.WriteFile(path, []byte("fiLe 3"), 0o644); err != nil {
		t.Fatal(err)
	}
	x := v.readIndex(v.indexPath(dir, "a"))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Files {
		if x.Files[i].Path == "f003" {
			x.Files[i] = lookOf("f003", info)
		}
	}
	for _, after := range []time.Duration{-time.Second, 0, coarse / 2, coarse - time.Millisecond} {
		x.Began = info.ModTime().Add(after)
		if err := v.putIndex(dir, "a", *x); err != nil {
			t.Fatal(err)
		}
		wantWhole(t, v, dir, captured(t, v, dir, false))
	}
	// The test is one: later the index would be believed.
	x.Began = info.ModTime().Add(coarse + time.Minute)
	if err := v.putIndex(dir, "a", *x); err != nil {
		t.Fatal(err)
	}
	if id := captured(t, v, dir, false); id == put(t, vault(t), dir) {
		t.Error("an old index is not believed: nothing is tested here")
	}
}

// An index that is torn, of another version, of an image or of chunks that are not in
// this vault is as none.
func TestIndexesThatAreIgnored(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, v *Vault, dir string, id ID) error{
		"torn": func(_ *testing.T, v *Vault, dir string, _ ID) error {
			path := v.indexPath(dir, "a")
			data, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, data[:len(data)/2], 0o644))
		},
		"flipped": func(_ *testing.T, v *Vault, dir string, _ ID) error {
			path := v.indexPath(dir, "a")
			data, err := os.ReadFile(path)
			data[len(data)/2] ^= 1
			return errors.Join(err, os.WriteFile(path, data, 0o644))
		},
		"empty": func(_ *testing.T, v *Vault, dir string, _ ID) error {
			return os.WriteFile(v.indexPath(dir, "a"), nil, 0o644)
		},
		"newer": func(_ *testing.T, v *Vault, dir string, _ ID) error {
			path := v.indexPath(dir, "a")
			data, err := os.ReadFile(path)
			json := []byte(strings.Replace(string(data[65:]), `"version":1`, `"version":2`, 1))
			return errors.Join(err, os.WriteFile(path, append([]byte(hashOf(json)+"\n"), json...), 0o644))
		},
		"image gone":    func(_ *testing.T, v *Vault, _ string, id ID) error { return os.Remove(v.manifestPath(id)) },
		"image damaged": func(_ *testing.T, v *Vault, _ string, id ID) error { return os.Truncate(v.manifestPath(id), 10) },
		"chunks gone": func(_ *testing.T, v *Vault, _ string, _ ID) error {
			return errors.Join(os.RemoveAll(v.path("chunks")), os.Mkdir(v.path("chunks"), 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := vault(t)
			dir := tree(t, 5)
			id := captured(t, v, dir, false)
			settle(t, v, dir, time.Hour)
			if err := harm(t, v, dir, id); err != nil {
				t.Fatal(err)
			}
			wantWhole(t, v, dir, captured(t, v, dir, false))
			if c := v.Check(); len(c.Damage) > 0 {
				t.Error(c.Damage)
			}
		})
	}
	// From another vault.
	a, b := vault(t), vault(t)
	dir := tree(t, 5)
	captured(t, a, dir, false)
	settle(t, a, dir, time.Hour)
	data, err := os.ReadFile(a.indexPath(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.indexPath(dir, "a"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, b, dir, captured(t, b, dir, false))
}

// An index goes with its image.
func TestPruneRemovesIndexesOfNothing(t *testing.T) {
	v := vault(t)
	dir := tree(t, 3)
	captured(t, v, dir, false)
	if err := os.WriteFile(v.path("indexes", disk.TempPrefix+"1"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	since := old(t, v)
	if u, err := v.Prune(func(ID, string) bool { return true }, since, true); err != nil || u.Leftovers != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	if u, err := v.Prune(none, since, true); err != nil || u.Leftovers != 1 || len(u.Images) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	wantWhole(t, v, dir, captured(t, v, dir, false))
}

// A restore that meets damage leaves nothing.
func TestRestoreLeavesNothingOfDamage(t *testing.T) {
	v, dir := vault(t), agent(t)
	id := put(t, v, dir)
	m, err := getManifest(v, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range m.files {
		if e.path != "sub/big.bin" {
			continue
		}
		if err := os.Truncate(v.chunkPath(e.chunks[len(e.chunks)-1]), 3); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(t.TempDir(), "out")
	var damage *DamageError
	if err := v.Restore(id, to); !errors.As(err, &damage) {
		t.Error(err)
	}
	if names, err := os.ReadDir(to); err != nil || len(names) > 0 {
		t.Error(names, err)
	}
}
