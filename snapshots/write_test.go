package snapshots

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"jird/snapshots/crash"
)

// manyChunks is an image with more chunks than are synced each; every second is the same.
func manyChunks() Image {
	im := Image{Name: "a"}
	for i := range 4 * few {
		im.Files = append(im.Files, File{Path: fmt.Sprint("f", i), Data: []byte(fmt.Sprint(i % 2 * i))})
	}
	return im
}

func crashVault(t *testing.T) (*Vault, *crash.Disk) {
	t.Helper()
	d := newDisk()
	v, err := OpenWith(firstDir, Options{Disk: d})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v, d
}

func kinds(d *crash.Disk, from int) map[string]int {
	n := map[string]int{}
	for _, s := range d.Steps()[from:] {
		n[s.Kind]++
	}
	return n
}

// The syncs of a large batch do not grow with it, a small one waits for nobody else's
// writes, and no chunk is written twice.
func TestLargeBatchesAreSyncedTogether(t *testing.T) {
	v, d := crashVault(t)
	from := len(d.Steps())
	id, err := v.Put(manyChunks())
	if err != nil {
		t.Fatal(err)
	}
	// 0, each second number, the memory; and the manifest.
	if n := kinds(d, from); n["create"] != 2*few+3 || n["sync"] > few+1 || n["syncfs"] == 0 || n["syncfs"] > 3 || n["syncdir"] > 1 {
		t.Errorf("of a large one: %v", n)
	}
	if _, err := v.Get(id); err != nil {
		t.Error(err)
	}
	from = len(d.Steps())
	if _, err := v.Put(image(1)); err != nil {
		t.Fatal(err)
	}
	if n := kinds(d, from); n["syncfs"] > 0 || n["sync"] != 3 { // the memory is there
		t.Errorf("of a small one: %v", n)
	}
}

// The error of a group's sync is the put's, nothing is left of the group, and the vault
// is not written by this process again.
func TestAFailedGroupSyncBreaksTheVault(t *testing.T) {
	v, d := crashVault(t)
	d.Refuse = func(_ int, s crash.Step) error {
		if s.Kind == "syncfs" {
			return syscall.EIO
		}
		return nil
	}
	if _, err := v.Put(manyChunks()); err == nil || !strings.Contains(err.Error(), syscall.EIO.Error()) {
		t.Error(err)
	}
	d.Refuse = nil
	if _, err := v.Put(image(1)); err == nil || !strings.Contains(err.Error(), "start again") {
		t.Errorf("it goes on: %v", err)
	}
	wantNothingLeft(t, d)
}

// A batch that is given up takes what has no name yet with it.
func TestABatchThatFailsLeavesNoTemporaryFile(t *testing.T) {
	v, d := crashVault(t)
	im := manyChunks()
	im.Files = append(im.Files, File{Path: "../x"})
	if _, err := v.Put(im); err == nil {
		t.Error("put a path that leaves the folder")
	}
	wantNothingLeft(t, d)
}

func wantNothingLeft(t *testing.T, d *crash.Disk) {
	t.Helper()
	v, err := OpenWith(firstDir, Options{Disk: d})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if p, err := v.KeepCheckpoints("a", MinGenerations); err != nil || len(p.Leftovers) > 0 {
		t.Error(p.Leftovers, err)
	}
}

// Goroutines that put the same chunks into one batch, in groups of two, and others that
// put them in their own: all is there in the end.
func TestManyPutAtOnce(t *testing.T) {
	v := vault(t)
	v.few, v.many = 1, 2
	ids := make([]ID, 4)
	var wg sync.WaitGroup
	for i := range ids {
		dir := tree(t, 40)
		wg.Go(func() { ids[i] = captured(t, v, dir, false) })
	}
	wg.Wait()
	if ids = slices.Compact(ids); len(ids) != 1 {
		t.Error(ids)
	}
	if c := v.Check(); len(c.Damage) > 0 || c.Images != 1 || c.Unused > 0 {
		t.Errorf("%+v", c)
	}
}
