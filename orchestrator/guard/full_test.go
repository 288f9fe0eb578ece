package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"jird/snapshots"
)

// smallDisk makes a folder a file system of its own, of a few MiB.
func smallDisk(t testing.TB, dir, size string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skipf("skipped: only root may mount")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("skipped: mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// fill takes all the space there is, and returns what gives it back.
func fill(t testing.TB, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		if _, err := f.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
	return func() { remove(t, path) }
}

// moved puts a world's vault and journal on another disk.
func (w *world) moved(dir string) {
	w.t.Helper()
	vault, err := snapshots.Open(filepath.Join(dir, "vault"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { vault.Close() })
	w.vault, w.dir, w.cfg.Vault = vault, filepath.Join(dir, "vault"), vault
	w.cfg.Code = codeOf(vault)
	w.cfg.Store = &Disk{Agent: "a", Vault: vault, Dir: filepath.Join(dir, "journal")}
	if err := vault.SwapRef("a/live", "", w.version("one")); err != nil {
		w.t.Fatal(err)
	}
}

// A full disk: what is there can be read, writes are refused with a reason that
// names the cure, and once there is space again all goes on, nothing lost.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	smallDisk(t, dir, "40m")
	w.moved(dir)
	two := w.version("two")
	g := w.open()
	sum := 0
	for round := range 2 {
		w.save(g)
		free := fill(t, dir)
		id, added := w.untilFull(g, round)
		sum += added
		before := w.call(g, "(get)")
		if before != fmt.Sprint(sum) && before != fmt.Sprint(sum+1) {
			t.Fatalf("got %s, want %d or one more", before, sum)
		}
		for i := range 3 {
			w.want(w.call(g, "(get)"), before)
			w.want(w.call(g, "(get)", "read with an id"), before)
			if got := w.call(g, "(add 1)"); !strings.Contains(got, ErrReadOnly.Error()) || !strings.Contains(got, "no space left on device") {
				t.Error(got)
			}
			time.Sleep(time.Duration(i) * 400 * time.Millisecond) // over the next tries to write
		}
		if s := g.Status(); !strings.Contains(s.ReadOnly, "no space left") {
			t.Errorf("the status says %q", s.ReadOnly)
		}
		if _, err := g.Promote(t.Context(), Promote{To: two, Kind: "forced"}); err == nil {
			t.Error("a promotion without a journal")
		}
		free()
		w.writable(g)
		sum++ // by repeating what had no answer, if not before
		w.want(w.call(g, "(add 1)", id), fmt.Sprint(sum))
		w.want(w.call(g, "(get)"), fmt.Sprint(sum))
	}
	w.save(g)
	if n := g.Status().Counts; n.Checkpoints == 0 {
		t.Errorf("%+v", n)
	}
	w.dies(g)
	g = w.open()
	w.want(w.call(g, "(get)"), fmt.Sprint(sum))
	if a, err := g.Promote(t.Context(), Promote{To: two, Kind: "forced"}); err != nil || !a.Live() {
		t.Error(a, err)
	}
}

// There is no space for the ref of an accepted promotion: the promise is kept once
// there is.
func TestNoSpaceForTheRef(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	refs := filepath.Join(dir, "vault", "refs")
	if err := os.MkdirAll(refs, 0o755); err != nil {
		t.Fatal(err)
	}
	smallDisk(t, refs, "64k")
	w.moved(dir)
	one, two := mustRef(t, w.vault), w.version("two")
	g := w.open()
	w.want(w.call(g, "(add 5)"), "5")
	free := fill(t, refs)
	a, err := g.Promote(t.Context(), Promote{To: two, Kind: "forced"})
	if err != nil || a.Ended || !strings.Contains(a.Why, "no space left") {
		t.Errorf("%+v %v", a, err)
	}
	w.want(w.call(g, "(version)"), "one")
	w.want(w.call(g, "(get)"), "5")
	if got := w.call(g, "(add 1)"); !strings.Contains(got, ErrReadOnly.Error()) || !strings.Contains(got, "no space left") {
		t.Error(got)
	}
	free()
	w.writable(g)
	w.want(w.call(g, "(version)"), "two")
	w.refs(two, one)
	w.want(w.call(g, "(add 1)"), "6")
	w.dies(g)
	g = w.open()
	w.want(w.call(g, "(version)"), "two")
	w.want(w.call(g, "(get)"), "6")
}

// untilFull writes until it is refused. It returns how many adds were acknowledged,
// and the id of the one that was not.
func (w *world) untilFull(g *Guard, round int) (id string, added int) {
	w.t.Helper()
	for i := range 20_000 {
		id = fmt.Sprint(round, "-", i)
		_, err := g.Call(w.t.Context(), Request{ID: id, Datum: datum(w.t, "(add 1)")})
		if err == nil {
			added++
			id = ""
			_, err = g.Call(w.t.Context(), Request{Datum: datum(w.t, fmt.Sprintf("(put k%d \"%d%s\")", i%50, i, strings.Repeat("x", 10_000)))})
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "no space left on device") {
			w.t.Fatal(err)
		}
		return id, added
	}
	w.t.Fatal("the disk was never full")
	return "", 0
}

// writable waits until a guard writes again.
func (w *world) writable(g *Guard) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var why error
		if err := g.ask(w.t.Context(), func() { why = g.readOnly }); err != nil {
			w.t.Fatal(err)
		}
		if why == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal("it stays read only: ", why)
		}
	}
}
