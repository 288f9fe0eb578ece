package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"jird/snapshots"
)

// onDisk gives a world a real journal and real checkpoints.
func onDisk(t testing.TB) (*world, *Disk) {
	w := newWorld(t)
	d := &Disk{Agent: "a", Vault: w.vault, Dir: filepath.Join(t.TempDir(), "journal")}
	w.cfg.Store = d
	return w, d
}

// dies ends a guard as a kill would: no last checkpoint, no clean end.
func (w *world) dies(g *Guard) {
	w.t.Helper()
	if err := g.ask(context.Background(), func() {
		w.t.Log("the guard dies")
		g.log.Close()
		g.log = &log{d: &disk{}, dead: errors.New("the guard is dead")}
	}); err != nil {
		w.t.Fatal(err)
	}
	g.Close()
}

func (w *world) save(g *Guard) {
	w.t.Helper()
	saved := make(chan struct{})
	g.post(func() { g.checkpoint(func() { close(saved) }) })
	<-saved
}

// The same losses as with the store in memory, on files.
func TestRecoveryOnDisk(t *testing.T) {
	for name, c := range map[string]struct {
		harm  func(t testing.TB, w *world, d *Disk)
		doubt bool
	}{
		"nothing":      {func(testing.TB, *world, *Disk) {}, false},
		"live ref":     {func(_ testing.TB, w *world, _ *Disk) { w.harmRef("") }, false},
		"journal":      {func(t testing.TB, _ *world, d *Disk) { remove(t, d.Dir) }, true},
		"journal meta": {func(t testing.TB, _ *world, d *Disk) { remove(t, filepath.Join(d.Dir, "meta")) }, true},
		"the newest checkpoint": {func(t testing.TB, w *world, _ *Disk) {
			remove(t, newest(t, w))
		}, false},
		"the newest checkpoint damaged": {func(t testing.TB, w *world, _ *Disk) {
			if err := os.WriteFile(newest(t, w), []byte("garbage"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, d := onDisk(t)
			g := w.open()
			for i := range 12 {
				w.want(w.call(g, fmt.Sprintf("(put k%d %d)", i, i)), "ok")
				if i%3 == 2 && i < 10 {
					w.save(g)
				}
			}
			w.dies(g)
			c.harm(t, w, d)
			g, err := Open(t.Context(), w.cfg)
			if c.doubt {
				var doubt *DoubtError
				if !errors.As(err, &doubt) || doubt.First > 12 {
					t.Fatalf("got %v, want doubt", err)
				}
				w.cfg.AcceptLoss = true
				g, err = Open(t.Context(), w.cfg)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			kept := 12
			if c.doubt {
				kept = 9 // the newest checkpoint holds them
			}
			for i := range kept {
				w.want(w.call(g, fmt.Sprintf("(key k%d)", i)), fmt.Sprint(i))
			}
			w.want(w.call(g, "(put more 1)"), "ok")
			w.dies(g)
			w.cfg.AcceptLoss = false
			w.want(w.call(w.open(), "(key more)"), "1")
		})
	}
}

// A damaged checkpoint is put aside once there is a newer one, and fails none after that.
func TestDamagedCheckpointIsPutAside(t *testing.T) {
	w, d := onDisk(t)
	g := w.open()
	for i := range 3 {
		w.want(w.call(g, fmt.Sprintf("(put k%d %d)", i, i)), "ok")
		w.save(g)
	}
	w.dies(g)
	damaged := newest(t, w)
	if err := os.WriteFile(damaged, []byte("garbage"), 0o644); err != nil {
		t.Fatal(err)
	}
	g = w.open()
	w.want(w.call(g, "(put more 1)"), "ok")
	w.save(g)
	if s := g.Status(); s.Counts.CheckpointErrors > 0 {
		t.Errorf("%+v", s.Counts)
	}
	if _, err := os.Stat(damaged); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if aside, _ := filepath.Glob(filepath.Join(w.dir, "quarantine", "*-checkpoints-a-*")); len(aside) != 1 {
		t.Errorf("in quarantine: %v", aside)
	}
	if _, err := d.Vault.KeepCheckpoints("a", snapshots.MinGenerations); err != nil {
		t.Error(err)
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// newest is the file of the newest checkpoint's manifest.
func newest(t testing.TB, w *world) string {
	t.Helper()
	all, err := w.vault.Checkpoints("a")
	if err != nil || len(all) == 0 {
		t.Fatal("no checkpoint: ", err)
	}
	return filepath.Join(w.dir, "checkpoints", all[0].Name)
}

// Both copies of the checkpoints are whole vaults: the journal and the first may go.
func TestSecondCopy(t *testing.T) {
	w, d := onDisk(t)
	dir, second := t.TempDir(), t.TempDir()
	vault, err := snapshots.OpenWith(dir, snapshots.Options{Copy: second, Say: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	image, err := w.vault.Get(mustRef(t, w.vault))
	if err != nil {
		t.Fatal(err)
	}
	id, err := vault.Put(*image)
	if err != nil {
		t.Fatal(err)
	}
	if err := vault.SwapRef("a/live", "", id); err != nil {
		t.Fatal(err)
	}
	d.Vault, w.cfg.Vault = vault, vault
	g := w.open()
	w.want(w.call(g, "(add 5)"), "5")
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	remove(t, filepath.Join(dir, "checkpoints"))
	g = w.open()
	w.want(w.call(g, "(get)"), "5")
	g.Close()
}

func mustRef(t testing.TB, v *snapshots.Vault) snapshots.ID {
	t.Helper()
	id, err := v.Ref("a/live")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A child of the guard that is just starting has the journal's lock until it runs its
// own program; that must cost no record.
func TestSalvageWaits(t *testing.T) {
	w, d := onDisk(t)
	g := w.open()
	w.want(w.call(g, "(put k 1)"), "ok")
	w.dies(g)
	held, err := d.OpenJournal(false)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { held.Close() })
	last := uint64(0)
	for e, err := range d.Salvage(1) {
		if err != nil {
			t.Fatal(err)
		}
		last = e.LSN
	}
	if last != 2 {
		t.Errorf("salvaged up to record %d, 2 were written", last)
	}
}
