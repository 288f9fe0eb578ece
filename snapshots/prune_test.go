package snapshots

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"jird/snapshots/crash"
)

func none(ID, string) bool { return false }

// old makes all images of a vault old enough to go.
func old(t testing.TB, v *Vault) time.Time {
	t.Helper()
	since := time.Now().Add(-time.Hour)
	ids, err := v.IDs()
	for _, id := range ids {
		err = errors.Join(err, os.Chtimes(v.manifestPath(id), since, since))
	}
	if err != nil {
		t.Fatal(err)
	}
	return since
}

func putAll(t testing.TB, v *Vault, n int) (ids []ID) {
	t.Helper()
	for i := range n {
		id, err := v.Put(image(i))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestPruneTakesWhatNothingNeeds(t *testing.T) {
	v := vault(t)
	ids := putAll(t, v, 5)
	if _, err := v.PutCheckpoint(checkpoint(1, ids[0])); err != nil {
		t.Fatal(err)
	}
	if err := v.SwapRef("a/live", "", ids[1]); err != nil {
		t.Fatal(err)
	}
	since := old(t, v)
	byWord := func(id ID, agent string) bool { return id == ids[2] && agent == "a" }
	before := listing(t, v.dir)
	plan, err := v.Prune(byWord, since, false)
	if err != nil || len(plan.Images) != 2 || plan.Chunks != 2 || plan.Bytes == 0 || plan.Young != 0 {
		t.Errorf("%+v, %v", plan, err)
	}
	if after := listing(t, v.dir); !reflect.DeepEqual(before, after) {
		t.Error("a plan changed the vault")
	}
	if done, err := v.Prune(byWord, since, true); err != nil || !reflect.DeepEqual(done, plan) {
		t.Errorf("planned %+v, done %+v, %v", plan, done, err)
	}
	for i, id := range ids {
		if _, err := v.Get(id); (err == nil) != (i < 3) {
			t.Errorf("image %d: %v", i, err)
		}
	}
	if c := v.Check(); len(c.Damage) > 0 || c.Unused > 0 {
		t.Errorf("%+v", c)
	}
}

// Who put an image, or read a ref, a moment ago may be about to name it.
func TestPruneLeavesWhatIsYoung(t *testing.T) {
	v := vault(t)
	ids := putAll(t, v, 3)
	if err := v.SwapRef("a/live", "", ids[0]); err != nil {
		t.Fatal(err)
	}
	since := old(t, v)
	if _, err := v.Put(image(1)); err != nil { // again
		t.Fatal(err)
	}
	if err := v.SwapRef("a/live", ids[0], ids[1]); err != nil {
		t.Fatal(err)
	}
	u, err := v.Prune(none, since, true)
	if err != nil || !reflect.DeepEqual(u.Images, ids[2:]) || u.Young != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	if err := v.SwapRef("a/live", ids[1], ids[2]); err == nil {
		t.Error("a ref was pointed at an image that is gone")
	}
	if _, err := v.Get(ids[0]); err != nil {
		t.Error(err)
	}
}

func TestPruneRemovesNothingBesideDamage(t *testing.T) {
	for name, harm := range map[string]func(v *Vault, ids []ID, checkpoint string) string{
		"image":      func(v *Vault, ids []ID, _ string) string { return v.manifestPath(ids[0]) },
		"checkpoint": func(v *Vault, _ []ID, checkpoint string) string { return v.path("checkpoints", checkpoint) },
		"ref":        func(v *Vault, _ []ID, _ string) string { return v.path("refs/a/live") },
	} {
		v := vault(t)
		ids := putAll(t, v, 3)
		name2, err := v.PutCheckpoint(checkpoint(1, ids[0]))
		if err != nil {
			t.Fatal(err)
		}
		if err := v.SwapRef("a/live", "", ids[1]); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(harm(v, ids, name2), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		since := old(t, v)
		before := listing(t, v.dir)
		var damage *DamageError
		if u, err := v.Prune(none, since, true); !errors.As(err, &damage) || len(u.Images)+u.Chunks > 0 {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
		if after := listing(t, v.dir); !reflect.DeepEqual(before, after) {
			t.Errorf("%s: something was removed", name)
		}
	}
}

// What is being put loses nothing, though its chunks are those of images that go.
func TestPruneBesidePuts(t *testing.T) {
	v := vault(t)
	kept := putAll(t, vault(t), 20)
	needed := map[ID]bool{}
	for _, id := range kept {
		needed[id] = true
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			other := image(i)
			other.Name = "going" // with the same chunks
			if _, err := v.Put(other); err != nil {
				t.Error(err)
			}
			if id, err := v.Put(image(i)); err != nil || id != kept[i] {
				t.Error(id, err)
			}
		})
		wg.Go(func() {
			if _, err := v.Prune(func(id ID, _ string) bool { return needed[id] }, time.Now().Add(time.Hour), true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range kept {
		if _, err := v.Get(id); err != nil {
			t.Error(err)
		}
	}
	if c := v.Check(); len(c.Damage) > 0 {
		t.Error(c.Damage)
	}
}

// A power cut at any step, and a refusal of any step, leaves all that is needed; the
// next one finds the rest.
func TestPruneInPowerCuts(t *testing.T) {
	r := random(t)
	prepared := func() (*crash.Disk, []ID) {
		d := newDisk()
		v, err := OpenWith(firstDir, Options{Disk: d})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		ids := putAll(t, v, 4)
		if err := v.SwapRef("a/live", "", ids[3]); err != nil {
			t.Fatal(err)
		}
		return d, ids
	}
	holds := func(d *crash.Disk, ids []ID) error {
		v, err := OpenWith(firstDir, Options{Disk: d})
		if err != nil {
			return err
		}
		defer v.Close()
		if damage := v.Check().Damage; len(damage) > 0 {
			return errors.Join(damage...)
		}
		if _, err := v.Get(ids[3]); err != nil {
			return err
		}
		if _, err := v.Prune(none, time.Now(), true); err != nil {
			return err
		}
		if c := v.Check(); c.Images != 1 || c.Unused > 0 || len(c.Damage) > 0 {
			return fmt.Errorf("afterwards %+v", c)
		}
		return nil
	}
	prune := func(d *crash.Disk) error {
		v, err := OpenWith(firstDir, Options{Disk: d})
		if err != nil {
			return err
		}
		defer v.Close()
		_, err = v.Prune(none, time.Now(), true)
		return err
	}
	d, ids := prepared()
	first := len(d.Steps())
	var pictures []crash.Cut
	d.After = func(_ int, cut func() crash.Cut) { pictures = append(pictures, cut()) }
	if err := prune(d); err != nil {
		t.Fatal(err)
	}
	last := len(d.Steps())
	for i, cut := range pictures {
		for range 5 {
			if err := holds(cut.Restart(r), ids); err != nil {
				t.Fatalf("cut after %v: %v", d.Steps()[first+i], err)
			}
		}
	}
	for n := first; n < last; n++ {
		d, ids := prepared()
		cause := errors.New("refused")
		d.Refuse = func(i int, _ crash.Step) error {
			if i == n {
				return cause
			}
			return nil
		}
		if err := prune(d); err == nil {
			t.Errorf("step %d was refused and nobody was told", n)
		}
		d.Refuse = nil
		if err := holds(d.Cut().Restart(r), ids); err != nil {
			t.Fatalf("step %d refused: %v", n, err)
		}
	}
	// The sync between manifests and chunks is needed.
	failed := false
	for range 50 {
		d, ids := prepared()
		d.Pretend = func(s crash.Step) bool { return s.Kind == "syncdir" && filepath.Base(s.Path) == "manifests" }
		if err := prune(d); err != nil {
			t.Fatal(err)
		}
		failed = failed || holds(d.Cut().Restart(r), ids) != nil
	}
	if !failed {
		t.Error("without the sync of manifests/ nothing is lost: this test finds nothing")
	}
}
