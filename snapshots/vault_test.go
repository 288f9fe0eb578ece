package snapshots

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
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
	if c := v.Check(); c.Images != 1 || len(c.Damage) != 0 || c.Unused != 0 {
		t.Errorf("%+v", c)
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
				if c := v.Check(); len(c.Damage) == 0 && !(name == "missing" && strings.Contains(path, "manifests")) {
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

func TestPutHealsADamagedChunkAndSharesTheOthers(t *testing.T) {
	v, dir := vault(t), agent(t)
	id := put(t, v, dir)
	chunks, err := filepath.Glob(filepath.Join(v.dir, "chunks", "*", "*"))
	if err != nil || len(chunks) < 3 {
		t.Fatal(chunks, err)
	}
	if err := os.Truncate(chunks[0], 3); err != nil {
		t.Fatal(err)
	}
	if again := put(t, v, dir); again != id {
		t.Errorf("%s, %s", again, id)
	}
	if c := v.Check(); len(c.Damage) != 0 || c.Images != 1 {
		t.Errorf("%+v", c)
	}
}

// Many at once, of the same and of other content, leave whole images only.
func TestConcurrentPuts(t *testing.T) {
	v := vault(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			im := Image{Name: "a", Files: []File{{Path: "same", Data: bytes.Repeat([]byte("same"), 1<<19)}, {Path: "own", Data: []byte{byte(i % 4)}}}}
			if _, err := v.Put(im); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c := v.Check(); c.Images != 4 || len(c.Damage) != 0 || c.Unused != 0 {
		t.Errorf("%+v", c)
	}
}

func TestFilesThatCannotBeThereAtOnce(t *testing.T) {
	v := vault(t)
	for _, paths := range [][]string{{"a", "a"}, {"a", "a/b"}, {"a/b/c", "a"}} {
		var im Image
		for _, p := range paths {
			im.Files = append(im.Files, File{Path: p})
		}
		if _, err := v.Put(im); err == nil || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%q: %v", paths, err)
		}
	}
}

func TestReadDirRefusesWhatIsNoPlainFile(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"link": func(p string) error { return os.Symlink("agent.scm", p) },
		"loop": func(p string) error { return os.Symlink(".", p) },
		"pipe": func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"socket": func(p string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p})
			if err != nil {
				return err
			}
			l.SetUnlinkOnClose(false)
			return l.Close()
		},
		"huge":   func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, maxImage+1)) },
		"a\xffb": func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"a\\b":   func(p string) error { return os.WriteFile(p, nil, 0o600) },
	} {
		dir := agent(t)
		if err := make(filepath.Join(dir, "sub", name)); err != nil {
			t.Fatal(err)
		}
		quoted := strconv.Quote("sub/" + name)
		if _, err := ReadDir("a", dir); err == nil || !strings.Contains(err.Error(), quoted[1:len(quoted)-1]) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%q: %v", name, err)
		}
	}
	dir := agent(t)
	if err := os.WriteFile(filepath.Join(dir, "memory.scm"), []byte("(1 . "), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadDir("a", dir); err == nil || !strings.Contains(err.Error(), "memory.scm") {
		t.Error(err)
	}
}

func TestRestoreKeepsTheExecutableBitAndRefusesATakenFolder(t *testing.T) {
	v, dir := vault(t), agent(t)
	if err := os.Chmod(filepath.Join(dir, "sub", "big.bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	id := put(t, v, dir)
	to := filepath.Join(t.TempDir(), "out")
	if err := v.Restore(id, to); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"agent.scm": false, "sub/big.bin": true} {
		info, err := os.Stat(filepath.Join(to, name))
		if err != nil || info.Mode()&0o100 != 0 != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := v.Restore(id, to); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
	// A link to outside stands in the target: nothing is written through it.
	outside, taken := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(taken, "sub")); err != nil {
		t.Fatal(err)
	}
	if err := v.Restore(id, taken); err == nil {
		t.Error("restored into a folder with a link")
	}
	root, err := os.OpenRoot(taken)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := restoreFile(v, root, entry{path: "sub/x"}); err == nil {
		t.Error("wrote through a link")
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
}

func TestFind(t *testing.T) {
	v := vault(t)
	id := put(t, v, agent(t))
	if err := v.SwapRef("a/live", "", id); err != nil {
		t.Fatal(err)
	}
	for i := range 17 { // two of seventeen begin with the same digit
		if _, err := v.Put(Image{Name: fmt.Sprint("other-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	ids, err := v.IDs()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if digit := string(id[:1]); seen[digit] {
			if _, err := v.Find(digit); !errors.Is(err, ErrManyImages) {
				t.Errorf("%s: %v", digit, err)
			}
		}
		seen[string(id[:1])] = true
	}
	for _, word := range []string{string(id), string(id[:12]), "a/live"} {
		if got, err := v.Find(word); got != id {
			t.Errorf("%s: %s, %v", word, got, err)
		}
	}
	for _, word := range []string{"", "xyz", string(id) + "0", "../refs"} {
		if _, err := v.Find(word); !errors.Is(err, ErrNoImage) {
			t.Errorf("%q: %v", word, err)
		}
	}
}

// A manifest that is taken says what it was made from, byte for byte, and names
// only paths that stay inside.
func FuzzDecodeManifest(f *testing.F) {
	hash := strings.Repeat("0", 64)
	for _, m := range []manifest{
		{}, {name: "a", parents: []ID{ID(hash)}, memory: []string{hash}},
		{files: []entry{{"a", true, 3, []string{hash}}, {"b/c", false, 0, nil}}},
		{files: []entry{{path: "../x"}}}, {files: []entry{{path: "a"}, {path: "a/b"}}},
	} {
		data, err := m.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest(data)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q became %q, %v", data, again, err)
		}
		for _, p := range m.paths() {
			if !filepath.IsLocal(p) {
				t.Errorf("path %q leaves the folder", p)
			}
		}
	})
}
