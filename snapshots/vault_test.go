package snapshots

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"jird/snapshots/sexpr"
)

func vault(t testing.TB) *Vault {
	t.Helper()
	v, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func agent(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{"agent.scm": "(define x 1)\n", "sub/big.bin": strings.Repeat("0123456789abcdef", 200_000), "memory.scm": "((bins . 3))"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func put(t testing.TB, v *Vault, dir string) ID {
	t.Helper()
	im, err := ReadDir("a", dir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := v.Put(im)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestRestoreGivesBackTheFolderAndMemory(t *testing.T) {
	v, dir := vault(t), agent(t)
	id := put(t, v, dir)
	if again := put(t, vault(t), dir); again != id {
		t.Errorf("the same folder is %s in one vault and %s in another", id, again)
	}
	to := filepath.Join(t.TempDir(), "out")
	if err := v.Restore(id, to); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"agent.scm", "sub/big.bin"} {
		a, _ := os.ReadFile(filepath.Join(dir, name))
		b, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || !bytes.Equal(a, b) || len(a) == 0 {
			t.Errorf("%s differs (%v)", name, err)
		}
	}
	im, err := v.Get(id)
	if err != nil || !sexpr.Equal(im.Memory, sexpr.List{sexpr.Dotted{Items: []sexpr.Value{sexpr.Symbol("bins")}, Tail: sexpr.NewInt(3)}}) {
		t.Errorf("memory %v, %v", im.Memory, err)
	}
	if n, damage := v.Check(); n != 1 || len(damage) != 0 {
		t.Errorf("%d images, damage %v", n, damage)
	}
}

// Every file of a vault, damaged in any of three ways, is noticed and named.
func TestDamageIsNamed(t *testing.T) {
	for name, harm := range map[string]func(path string, data []byte) error{
		"flipped": func(path string, data []byte) error {
			data[len(data)/2] ^= 1
			return os.WriteFile(path, data, 0o644)
		},
		"missing":   func(path string, _ []byte) error { return os.Remove(path) },
		"truncated": func(path string, data []byte) error { return os.WriteFile(path, data[:len(data)/2], 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			v := vault(t)
			id := put(t, v, agent(t))
			var files []string
			for _, pattern := range []string{"chunks/*/*", "manifests/*"} {
				found, err := filepath.Glob(filepath.Join(v.dir, pattern))
				if err != nil || len(found) == 0 {
					t.Fatal("no files: ", err)
				}
				files = append(files, found...)
			}
			for _, path := range files {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := harm(path, bytes.Clone(data)); err != nil {
					t.Fatal(err)
				}
				_, err = v.Get(id)
				var damage *DamageError
				if !errors.As(err, &damage) || damage.File != path {
					t.Errorf("%s: Get says %v", path, err)
				}
				if _, all := v.Check(); len(all) == 0 && !(name == "missing" && strings.Contains(path, "manifests")) {
					t.Errorf("%s: Check sees nothing", path)
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestPathsThatLeaveTheFolder(t *testing.T) {
	v := vault(t)
	for _, path := range []string{"../x", "/etc/x", "a/../../x", "", ".", "a//b", "a/./b", `a\b`} {
		if _, err := v.Put(Image{Name: "a", Files: []File{{Path: path}}}); err == nil || !strings.Contains(err.Error(), strconv.Quote(path)) {
			t.Errorf("Put took %q: %v", path, err)
		}
		// And in a manifest whose hash is right.
		data, err := (&manifest{name: "a", files: []entry{{path: path}}}).encode()
		if err != nil {
			t.Fatal(err)
		}
		id := ID(hashOf(data))
		if err := v.write(v.manifestPath(id), data); err != nil {
			t.Fatal(err)
		}
		if err := v.Restore(id, filepath.Join(t.TempDir(), "out")); err == nil || !strings.Contains(err.Error(), strconv.Quote(path)) {
			t.Errorf("Restore took %q: %v", path, err)
		}
	}
	dir := agent(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.scm")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadDir("a", dir); err == nil || !strings.Contains(err.Error(), "link.scm") {
		t.Errorf("a symbolic link was taken: %v", err)
	}
}

func TestSwapRefIsCompareAndSwap(t *testing.T) {
	v := vault(t)
	dir := agent(t)
	first := put(t, v, dir)
	if err := os.WriteFile(filepath.Join(dir, "agent.scm"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	second := put(t, v, dir)
	if _, err := v.Ref("a/live"); !errors.Is(err, ErrNoRef) {
		t.Errorf("got %v", err)
	}
	if err := v.SwapRef("a/live", first, second); !errors.Is(err, ErrRefMoved) {
		t.Errorf("got %v", err)
	}
	if err := v.SwapRef("a/live", "", first); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var won sync.Map
	for i := range 16 {
		wg.Go(func() {
			if v.SwapRef("a/live", first, second) == nil {
				won.Store(i, true)
			}
		})
	}
	wg.Wait()
	count := 0
	won.Range(func(any, any) bool { count++; return true })
	if now, _ := v.Ref("a/live"); count != 1 || now != second {
		t.Errorf("%d of 16 swaps won; the ref is %s", count, now)
	}
	if err := v.SwapRef("a/live", second, ID(strings.Repeat("0", 64))); err == nil {
		t.Error("a ref to no image was written")
	}
	if err := v.SwapRef("../x/live", "", first); err == nil {
		t.Error("a ref outside of the vault was written")
	}
}
