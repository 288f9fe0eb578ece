package crash

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// outcomes draws many power cuts after a few steps and counts what /d/f holds.
func outcomes(t *testing.T, do func(d *Disk) error) map[string]int {
	t.Helper()
	d := New()
	if err := errors.Join(d.Mkdir("/d"), d.SyncDir("/"), do(d)); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	got := map[string]int{}
	for range 500 {
		data, err := d.Cut().Restart(r).ReadFile("/d/f")
		if err != nil {
			data = []byte("none")
		}
		got[string(data)]++
	}
	return got
}

// put writes /d/f with or without the syncs that make it durable.
func put(d *Disk, data string, syncFile, syncDir bool) error {
	f, err := d.CreateTemp("/d")
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(data))
	if syncFile {
		err = errors.Join(err, f.Sync())
	}
	err = errors.Join(err, f.Close(), d.Rename(f.Name(), "/d/f"))
	if syncDir {
		err = errors.Join(err, d.SyncDir("/d"))
	}
	return err
}

func TestOnlyWhatWasSyncedIsSure(t *testing.T) {
	both := outcomes(t, func(d *Disk) error { return put(d, "ab", true, true) })
	if len(both) != 1 || both["ab"] == 0 {
		t.Errorf("file and folder synced: %v", both)
	}
	name := outcomes(t, func(d *Disk) error { return put(d, "ab", true, false) })
	if len(name) != 2 || name["ab"] == 0 || name["none"] == 0 {
		t.Errorf("folder not synced: %v", name)
	}
	bytes := outcomes(t, func(d *Disk) error { return put(d, "ab", false, true) })
	for _, want := range []string{"", "a", "ab", "a\x00", "\x00\x00"} {
		if bytes[want] == 0 {
			t.Errorf("file not synced: never %q in %v", want, bytes)
		}
	}
	replaced := outcomes(t, func(d *Disk) error { return errors.Join(put(d, "old", true, true), put(d, "new", true, false)) })
	if len(replaced) != 2 || replaced["old"] == 0 || replaced["new"] == 0 {
		t.Errorf("replaced, folder not synced: %v", replaced)
	}
}

func TestAFailedSyncIsNotMadeGoodByAnother(t *testing.T) {
	got := outcomes(t, func(d *Disk) error {
		first := true
		d.Refuse = func(_ int, s Step) error {
			if s.Kind == "sync" && first {
				first = false
				return errors.New("no")
			}
			return nil
		}
		f, err := d.CreateTemp("/d")
		if err != nil {
			return err
		}
		if _, err := f.Write([]byte("ab")); err != nil {
			return err
		}
		if f.Sync() == nil {
			t.Error("the sync did not fail")
		}
		return errors.Join(f.Sync(), d.Rename(f.Name(), "/d/f"), d.SyncDir("/d"))
	})
	if len(got) < 3 {
		t.Errorf("%v", got)
	}
}

// A group's sync is for the bytes of its own files and for all names, and a failed one
// loses what it was for.
func TestGroupsSyncWhatWasMadeInThem(t *testing.T) {
	group := func(before, fails bool) map[string]int {
		return outcomes(t, func(d *Disk) error {
			if before {
				if err := put(d, "ab", false, false); err != nil {
					return err
				}
			}
			g, err := d.Group("/d")
			if err != nil {
				return err
			}
			if !before {
				if err := put(d, "ab", false, false); err != nil {
					return err
				}
			}
			if fails {
				d.Refuse = func(int, Step) error { return errors.New("no") }
				if g.Sync() == nil {
					t.Error("the sync did not fail")
				}
				d.Refuse = nil
			}
			return errors.Join(g.Sync(), g.Close())
		})
	}
	if got := group(false, false); len(got) != 1 || got["ab"] == 0 {
		t.Errorf("synced: %v", got)
	}
	for _, got := range []map[string]int{group(true, false), group(false, true)} {
		if got["none"] > 0 || got["ab"] == 0 || got[""] == 0 || got["\x00\x00"] == 0 {
			t.Errorf("made before the group, or failed: %v", got)
		}
	}
}

func TestLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New()
		one, _ := d.Lock("l", true)
		two, _ := d.Lock("l", true)
		got := false
		go func() {
			unlock, _ := d.Lock("l", false)
			got = true
			unlock()
		}()
		// A goroutine that waits for a Cond is durably blocked.
		one()
		if synctest.Wait(); got {
			t.Error("locked alone beside another")
		}
		two()
		if synctest.Wait(); !got {
			t.Error("not locked")
		}
	})
}
