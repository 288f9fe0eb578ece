package snapshots

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"jird/snapshots/crash"
)

// worked is a vault after the script.
func worked(t *testing.T, copied bool) *script {
	t.Helper()
	s := &script{disk: newDisk(), copied: copied}
	s.run()
	if err := errors.Join(s.errs...); err != nil {
		t.Fatal(err)
	}
	if err := s.open(firstDir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.vault.Close() })
	return s
}

func TestACheckpointComesBackAsItWasPut(t *testing.T) {
	v := vault(t)
	id, err := v.Put(image(1))
	if err != nil {
		t.Fatal(err)
	}
	want := checkpoint(math.MaxUint64, id)
	want.Parts = append(want.Parts, Part{Name: "größe \n"})
	name, err := v.PutCheckpoint(want)
	if err != nil {
		t.Fatal(err)
	}
	got, steps, err := v.GetCheckpoint(name)
	if err != nil || len(steps) > 0 {
		t.Fatal(err, steps)
	}
	if err := same(got, want); err != nil {
		t.Error(err)
	}
	infos, err := v.Checkpoints("a")
	if err != nil || len(infos) != 1 || infos[0].Name != name || infos[0].LSN != want.LSN || infos[0].Image != id || infos[0].Generation != 1 || infos[0].Damage != nil {
		t.Errorf("%+v, %v", infos, err)
	}
	if _, _, err := v.Newest("b"); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("of an agent without any: %v", err)
	}
}

// An agent that ended in order and was started again must not be taken for one
// that ended in order.
func TestOfOneLSNTheLaterIsNewest(t *testing.T) {
	s := worked(t, false)
	for _, clean := range []bool{true, false, true, false} {
		c := checkpoint(9, s.now().ref)
		c.Clean = clean
		c.Time = c.Time.Add(-time.Hour) // the clock was set back
		if _, err := s.vault.PutCheckpoint(c); err != nil {
			t.Fatal(err)
		}
		if got, _, err := s.vault.Newest("a"); err != nil || got.LSN != 9 || got.Clean != clean {
			t.Errorf("newest: %+v, %v", got, err)
		}
	}
}

func TestPutCheckpointRefuses(t *testing.T) {
	v := vault(t)
	id, err := v.Put(image(1))
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Checkpoint){
		"cut it":                 func(c *Checkpoint) { c.Parts[0].Pieces[1] = make([]byte, chunkSize+1) },
		"two parts":              func(c *Checkpoint) { c.Parts = append(c.Parts, c.Parts[0]) },
		"not the name":           func(c *Checkpoint) { c.Agent = "../a" },
		"not a snapshot":         func(c *Checkpoint) { c.Image = "" },
		"no such manifest":       func(c *Checkpoint) { c.Image = ID(strings.Repeat("0", 64)) },
		"not valid UTF-8":        func(c *Checkpoint) { c.Parts[0].Name = "\xff" },
		"manifest is not of the": func(c *Checkpoint) { c.Time = time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		c := checkpoint(1, id)
		change(&c)
		if _, err := v.PutCheckpoint(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if all, err := v.Checkpoints("a"); err != nil || len(all) > 0 {
		t.Errorf("left %v, %v", all, err)
	}
}

func walk(t *testing.T, d *crash.Disk, dir string) (files []string) {
	t.Helper()
	names, err := d.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := d.ReadDir(path); err == nil && !hashPattern.MatchString(name) && strings.Count(path, "/") < 5 && !strings.Contains(name, "-") && name != "live" {
			files = append(files, walk(t, d, path)...)
			continue
		}
		files = append(files, path)
	}
	return files
}

var harms = map[string]func(d *crash.Disk, file string) error{
	"flipped":   func(d *crash.Disk, file string) error { d.Damage(file, flip); return nil },
	"truncated": func(d *crash.Disk, file string) error { d.Damage(file, half); return nil },
	"missing":   func(d *crash.Disk, file string) error { return d.Remove(file) },
}

func flip(b []byte) []byte {
	if len(b) == 0 {
		return []byte{1}
	}
	b[len(b)/2] ^= 1
	return b
}

func half(b []byte) []byte {
	if len(b) == 0 {
		return []byte{0x28}
	}
	return b[:len(b)/2]
}

// Any one file of a vault, damaged in any of three ways, costs at most one step
// back per checkpoint that needs it, is said, and never gives wrong bytes. With a
// copy it costs nothing.
func TestNewestStepsOverDamage(t *testing.T) {
	t.Parallel()
	for _, copied := range []bool{false, true} {
		for name, harm := range harms {
			t.Run(fmt.Sprintf("%s, copied %v", name, copied), func(t *testing.T) {
				files := walk(t, worked(t, copied).disk, firstDir)
				if len(files) < 15 {
					t.Fatalf("only %v", files)
				}
				back := 0
				for _, file := range files {
					s := worked(t, copied)
					if err := harm(s.disk, file); err != nil {
						t.Fatal(err)
					}
					back += recovers(t, s, file)
				}
				if (back > 0) == copied {
					t.Errorf("%d steps back", back)
				}
			})
		}
	}
}

// recovers goes on with a vault of which one file is damaged, and returns how
// many generations were given up.
func recovers(t *testing.T, s *script, file string) (back int) {
	c, steps, err := s.vault.Newest("a")
	if err != nil && !strings.Contains(err.Error(), "none of") {
		t.Errorf("%s: %v", file, err)
	}
	for _, step := range steps {
		if step.File != file || !strings.Contains(step.Error(), file) {
			t.Errorf("%s is damaged, said is %v", file, step)
		}
		if !step.FromCopy {
			back++
		}
	}
	if err == nil {
		if err := same(c, checkpoint(c.LSN, c.Image)); err != nil {
			t.Error(err)
		}
		// A manifest that is gone without a trace is the journal's to miss.
		if c.LSN != lastLSN && len(steps) == 0 && !strings.Contains(file, "checkpoints") {
			t.Errorf("%s: newest is at %d, and nothing is said", file, c.LSN)
		}
	}
	moved, err := s.vault.Quarantine(steps)
	if err != nil {
		t.Errorf("%s: %v", file, err)
	}
	for _, to := range moved {
		if _, err := s.disk.ReadFile(to); err != nil || !strings.HasPrefix(to, firstDir+"/quarantine/2") {
			t.Errorf("%s went to %s: %v", file, to, err)
		}
	}
	goesOn(t, s, file)
	return back
}

// goesOn puts another checkpoint, which is whole in spite of what happened to
// chunks that it shares.
func goesOn(t *testing.T, s *script, file string) {
	v := s.vault
	for n := 1; n <= 2; n++ {
		if _, err := v.Put(image(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.PutCheckpoint(checkpoint(lastLSN+1, s.now().ref)); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	c, steps, err := v.Newest("a")
	if err != nil || c.LSN != lastLSN+1 || len(steps) > 0 {
		t.Errorf("%s: then newest is %+v, %v, %v", file, c, steps, err)
	}
	if alone, err := OpenWith(firstDir, Options{Disk: s.disk}); err != nil {
		t.Error(err)
	} else if err := newestHolds(alone, ack{lsn: lastLSN + 1}); err != nil {
		t.Errorf("%s: without the copy: %v", file, err)
	}
}

func TestTheCopyIsAVaultByItself(t *testing.T) {
	s := worked(t, true)
	for _, n := range mustInfos(t, s.vault) {
		if !n.Copied || n.Damage != nil {
			t.Errorf("%+v", n)
		}
	}
	if err := holds(s.disk, copyDir, s.now(), s); err != nil {
		t.Error(err)
	}
}

func mustInfos(t *testing.T, v *Vault) []CheckpointInfo {
	t.Helper()
	infos, err := v.Checkpoints("a")
	if err != nil || len(infos) < 3 {
		t.Fatal(infos, err)
	}
	return infos
}

// The first folder is gone: the agent comes back from the copy, and its next
// checkpoint counts on.
func TestTheCopyIsEnough(t *testing.T) {
	s := worked(t, true)
	before := mustInfos(t, s.vault)[0]
	if err := s.disk.Rename(firstDir, "/home/elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := s.open(firstDir); err != nil {
		t.Fatal(err)
	}
	c, steps, err := s.vault.Newest("a")
	if err != nil || c.LSN != lastLSN || len(steps) == 0 {
		t.Fatalf("%+v, %v, %v", c, steps, err)
	}
	im, err := s.vault.Get(c.Image)
	if err != nil || len(s.errs) == 0 {
		t.Errorf("image: %v, said %v", err, s.errs)
	}
	if _, err := s.vault.Put(*im); err != nil {
		t.Fatal(err)
	}
	if _, err := s.vault.PutCheckpoint(checkpoint(lastLSN, c.Image)); err != nil {
		t.Fatal(err)
	}
	if after := mustInfos(t, s.vault)[0]; after.Generation != before.Generation+1 {
		t.Errorf("generation %d after %d", after.Generation, before.Generation)
	}
}

// A copy that is away costs nothing but words, and catches up.
func TestTheCopyComesAndGoes(t *testing.T) {
	s := worked(t, true)
	if err := s.disk.Rename("/copy", "/away"); err != nil {
		t.Fatal(err)
	}
	away := true
	s.disk.Refuse = func(_ int, step crash.Step) error {
		if away && strings.HasPrefix(step.Path, "/copy") {
			return errors.New("unplugged")
		}
		return nil
	}
	s.image(3)
	s.checkpoint(7)
	s.keep()
	for _, err := range s.errs {
		var copied *CopyError
		if !errors.As(err, &copied) || copied.Dir != copyDir {
			t.Errorf("said %v", err)
		}
	}
	if len(s.errs) != 5 {
		t.Errorf("said %v", s.errs)
	}
	away, s.errs = false, nil
	if err := errors.Join(s.disk.Rename("/away", "/copy"), s.disk.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	s.checkpoint(8)
	if len(s.errs) > 0 {
		t.Error(s.errs)
	}
	if err := holds(s.disk, copyDir, s.now(), s); err != nil {
		t.Error(err)
	}
}

func TestKeepCheckpointsKeepsThreeThatVerify(t *testing.T) {
	s := worked(t, false)
	if _, err := s.vault.KeepCheckpoints("a", 2); err == nil {
		t.Error("two were kept")
	}
	infos := mustInfos(t, s.vault)
	if len(infos) != 3 {
		t.Fatal(infos)
	}
	// The newest rots: with two that verify nothing may go.
	s.disk.Damage(s.vault.path("checkpoints", infos[0].Name), flip)
	pruned, err := s.vault.KeepCheckpoints("a", 3)
	var damage *DamageError
	if !errors.As(err, &damage) || pruned.Oldest != 0 || len(pruned.Checkpoints)+len(pruned.Chunks) > 0 {
		t.Errorf("%+v, %v", pruned, err)
	}
	_, steps, err := s.vault.Newest("a")
	if err != nil {
		t.Fatal(err)
	}
	if moved, err := s.vault.Quarantine(steps); err != nil || len(moved) != 1 {
		t.Fatal(moved, err)
	}
	for lsn := uint64(7); lsn <= 9; lsn++ {
		s.checkpoint(lsn)
	}
	pruned, err = s.vault.KeepCheckpoints("a", 3)
	if err != nil || pruned.Oldest != 7 || len(pruned.Checkpoints) != 2 || len(pruned.Chunks) == 0 {
		t.Errorf("%+v, %v", pruned, err)
	}
}

func TestPlan(t *testing.T) {
	gen := func(lsn uint64, whole bool) generation {
		return generation{checkpointName{"a", lsn, lsn, strings.Repeat("0", 64)}, whole}
	}
	s := stock{
		generations: []generation{gen(9, true), gen(8, false), gen(7, true), gen(6, true), gen(5, true), gen(4, false), gen(3, true)},
		names: map[string][]string{
			gen(9, true).name.rel(): {"aa9"}, gen(5, true).name.rel(): {"aa5", "aa9"}, gen(4, false).name.rel(): {"aa4"}, gen(3, true).name.rel(): {"aa3", "bbimage"},
			"manifests/1": {"bbimage"}, "quarantine/2": {"bbquarantine"}, "checkpoints/b/3": {"bbother"},
		},
		chunks:    []string{"aa9", "aa5", "aa4", "aa3", "bbimage", "bbquarantine", "bbother", "bbnone"},
		leftovers: []string{"manifests/.tmp-1"},
	}
	got := s.plan(3)
	want := Pruned{6, []string{gen(5, true).name.rel(), gen(3, true).name.rel()}, []string{"chunks/aa/aa5", "chunks/aa/aa3", "chunks/bb/bbnone"}, s.leftovers}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s.unread = true
	if got := s.plan(3); got.Chunks != nil || len(got.Checkpoints) != 2 {
		t.Errorf("with a manifest unread: %v", got)
	}
	if got := s.plan(6); got.Oldest != 0 || got.Checkpoints != nil {
		t.Errorf("keeping six: %v", got)
	}
}

// Writers, readers and the one that prunes, at once, on the machine's disk.
func TestAtOnce(t *testing.T) {
	var said sync.Map
	dir := t.TempDir()
	v, err := OpenWith(filepath.Join(dir, "v"), Options{Copy: filepath.Join(dir, "c"), Say: func(err error) { said.Store(err.Error(), true) }})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	id, err := v.Put(image(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.PutCheckpoint(checkpoint(1, id)); err != nil {
		t.Fatal(err)
	}
	// As another process.
	other, err := Open(filepath.Join(dir, "v"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	const rounds = 12
	var wg sync.WaitGroup
	each := func(do func(n int) error) {
		wg.Go(func() {
			for n := range rounds {
				if err := do(n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	each(func(n int) error { _, err := v.PutCheckpoint(checkpoint(uint64(n)+2, id)); return err })
	each(func(int) error { _, err := other.KeepCheckpoints("a", 3); return err })
	each(func(int) error { _, err := v.KeepCheckpoints("a", 3); return err })
	each(func(n int) error {
		// Its chunk is one that pruning takes for unneeded, until the manifest is there.
		im := Image{Name: "b", Files: []File{{Path: "x", Data: checkpoint(uint64(n), id).Parts[0].Pieces[1]}}}
		put, err := other.Put(im)
		if err == nil {
			_, err = v.Get(put)
		}
		return err
	})
	each(func(int) error {
		c, steps, err := v.Newest("a")
		if err != nil || len(steps) > 0 {
			return fmt.Errorf("newest: %v, %w", steps, err)
		}
		return same(c, checkpoint(c.LSN, id))
	})
	wg.Wait()
	if damage := v.Check().Damage; len(damage) > 0 {
		t.Error(damage)
	}
	said.Range(func(err, _ any) bool { t.Error("said ", err); return true })
}

func TestAManifestOfANewerVersionIsLeftAlone(t *testing.T) {
	s := worked(t, false)
	name := mustInfos(t, s.vault)[0].Name
	data, err := s.vault.fs.ReadFile(s.vault.path("checkpoints", name))
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(data, []byte("(jird-checkpoint 1 "), []byte("(jird-checkpoint 2 "), 1)
	path := s.vault.path(checkpointName{"a", 50, 50, hashOf(newer)}.rel())
	if err := s.vault.write(path, newer); err != nil {
		t.Fatal(err)
	}
	c, steps, err := s.vault.Newest("a")
	if err != nil || c.LSN != lastLSN || len(steps) != 1 || !strings.Contains(steps[0].Error(), "newer jird") {
		t.Errorf("%+v, %v, %v", c, steps, err)
	}
	if moved, err := s.vault.Quarantine(steps); err != nil || len(moved) > 0 {
		t.Errorf("moved %v, %v", moved, err)
	}
}
