package snapshots

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var treeMB = flag.Int("tree", 128, "MiB of the tree that is captured in files of 100 KiB; 1024 makes ten thousand")

const treeFile = 107374

// goSource is text as people write it: Go's own library, in one piece.
func goSource(b *testing.B) []byte {
	b.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skipf("skipped: %v", err)
	}
	var all []byte
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || len(all) > 64<<20 {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, data...)
		return err
	})
	if err != nil || len(all) < 1<<20 {
		b.Skipf("skipped: no source of Go to make a tree of: %v", err)
	}
	return all
}

// plant makes a tree of files that have no whole chunk in common.
func plant(b *testing.B, dir string, r *rand.Rand, text []byte) (files []string) {
	b.Helper()
	for i := range *treeMB << 20 / treeFile {
		path := filepath.Join(dir, fmt.Sprint(i%100), fmt.Sprint("f", i, ".go"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		at := r.IntN(len(text) - treeFile)
		if err := os.WriteFile(path, text[at:at+treeFile], 0o644); err != nil {
			b.Fatal(err)
		}
		files = append(files, path)
	}
	return files
}

// BenchmarkCapture captures a tree, captures it again after one file in a hundred was
// rewritten, and restores it; beside tar and zstd, which verify and sync nothing. Files
// that were written in the last two seconds are read again, so it waits for them to age.
func BenchmarkCapture(b *testing.B) {
	for _, program := range []string{"tar", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			b.Skipf("skipped: %v", err)
		}
	}
	shell := func(dir, script string) time.Duration {
		start := time.Now()
		c := exec.Command("sh", "-c", script)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		return time.Since(start)
	}
	took := func(f func() error) time.Duration {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	r, text := rand.New(rand.NewPCG(1, 1)), goSource(b)
	var pack, unpack, first, again, second, restore time.Duration
	var packed, stored, added int64
	for range b.N {
		dir := b.TempDir()
		files := plant(b, filepath.Join(dir, "tree"), r, text)
		shell(dir, "sync -f . && sleep 3")
		pack += shell(dir, "tar -C tree -cf - . | zstd -3 -T2 -q -o tree.zst")
		v, err := Open(filepath.Join(dir, "v"))
		if err != nil {
			b.Fatal(err)
		}
		var id ID
		capture := func() (err error) { id, err = v.Capture("a", filepath.Join(dir, "tree"), nil, false); return err }
		first += took(capture)
		stored = size(b, v.dir)
		again += took(capture)
		for range len(files) / 100 {
			at := r.IntN(len(text) - treeFile)
			if err := os.WriteFile(files[r.IntN(len(files))], text[at:at+treeFile], 0o644); err != nil {
				b.Fatal(err)
			}
		}
		second += took(capture)
		added = size(b, v.dir) - stored
		shell(dir, "sync -f .")
		unpack += shell(dir, "mkdir t && zstd -dcq tree.zst | tar -x -C t")
		restore += took(func() error { return v.Restore(id, filepath.Join(dir, "back")) })
		if info, err := os.Stat(filepath.Join(dir, "tree.zst")); err == nil {
			packed = info.Size()
		}
		if out, err := exec.Command("diff", "-r", filepath.Join(dir, "tree"), filepath.Join(dir, "back")).Output(); err != nil {
			b.Fatalf("what came back differs: %.500s", bytes.TrimSpace(out))
		}
		v.Close()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(pack.Seconds()/float64(b.N), "tar|zstd-s")
	b.ReportMetric(first.Seconds()/pack.Seconds(), "first/tar")
	b.ReportMetric(second.Seconds()/first.Seconds(), "1%/first")
	b.ReportMetric(again.Seconds()/first.Seconds(), "0%/first")
	b.ReportMetric(restore.Seconds()/unpack.Seconds(), "restore/tar")
	b.ReportMetric(float64(stored)/float64(packed), "stored/tar")
	b.ReportMetric(float64(added)/float64(stored), "added/stored")
	b.Log(strings.TrimSpace(fmt.Sprintf("%d MiB: tar|zstd %v, first %v, nothing changed %v, 1%% changed %v; zstd|tar %v, restore %v; %d and %d bytes, %d added",
		*treeMB, pack, first, again, second, unpack, restore, packed, stored, added)))
}
