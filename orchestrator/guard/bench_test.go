package guard_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"jird/orchestrator/guard"
	"jird/orchestrator/supervise"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/sexpr"
	"jird/snapshots/wal"
)

// clerk counts what each of its processes has answered, in place, so that an answer
// tells which process gave it.
const clerk = `
(define answered 0)
(define (spin n) (if (> n 0) (spin (- n 1)) 'done))
(define (agent-handle request)
  (set! answered (+ answered 1))
  (case (car request)
    ((get) (list answered (memory-ref (cadr request) #f)))
    ((put) (memory-set! (cadr request) (caddr request)) answered)
    ((work) (spin (cadr request)) answered)))
`

// benchKeys is how many keys the agent's memory has.
const benchKeys = 10_000

func benchMemory() sexpr.List {
	memory := make(sexpr.List, benchKeys)
	for i := range memory {
		memory[i] = sexpr.Dotted{Items: []sexpr.Value{benchKey(i)}, Tail: sexpr.String(fmt.Sprintf("what was noted under number %d", i))}
	}
	return memory
}

func benchKey(i int) sexpr.Value { return sexpr.Symbol(fmt.Sprintf("note-%d", i%benchKeys)) }

// bench is a folder with an agent.
type bench struct {
	b      *testing.B
	dir    string
	image  sandbox.Image // without memory
	memory sexpr.List
	cache  string
}

// newBench makes a clerk of 10,000 keys.
func newBench(b *testing.B) *bench {
	return benchOf(b, benchMemory(), snapshots.File{Path: "agent.scm", Data: []byte(clerk)})
}

func benchOf(b *testing.B, memory sexpr.List, files ...snapshots.File) *bench {
	b.Helper()
	w := &bench{b: b, dir: b.TempDir(), memory: memory, cache: b.TempDir()}
	for _, f := range files {
		w.image.Files = append(w.image.Files, sandbox.Source{Name: f.Path, Code: f.Data})
	}
	vault := w.vault(w.dir)
	id, err := vault.Put(snapshots.Image{Name: "a", Files: files, Memory: memory})
	check(b, err)
	check(b, vault.SwapRef("a/live", "", id))
	check(b, vault.Close())
	return w
}

func (w *bench) vault(dir string) *snapshots.Vault {
	w.b.Helper()
	vault, err := snapshots.Open(dir)
	check(w.b, err)
	return vault
}

func (w *bench) options() sandbox.Options {
	w.b.Helper()
	r, err := sandbox.FindRuntime(context.Background(), "auto")
	if err == nil {
		_, err = isolation.Decide(isolation.Policy{Level: isolation.Full}, isolation.Probe())
	}
	if err != nil {
		w.b.Skipf("skipped: %v", err)
	}
	return sandbox.Options{
		Runtime: r, Policy: isolation.Policy{Level: isolation.Full, Heap: 64 << 20},
		Compiler: &sandbox.Compiler{Runtime: r, Cache: w.cache, Level: isolation.Full},
	}
}

// open opens the guard of a folder; the second result is how long that took.
func (w *bench) open(dir string, mode wal.Mode, o sandbox.Options) (*guard.Guard, time.Duration) {
	w.b.Helper()
	began := time.Now()
	vault := w.vault(dir)
	g, err := guard.Open(context.Background(), guard.Config{
		Agent: "a", Vault: vault, Canary: guard.Canary{Steps: []guard.Step{}},
		Store: &guard.Disk{Agent: "a", Vault: vault, Dir: filepath.Join(dir, "journal"), Mode: mode},
		Code:  func(snapshots.ID) (sandbox.Image, error) { return w.image, nil },
		Line:  supervise.Config{Sandbox: o},
	})
	check(w.b, err)
	took := time.Since(began)
	w.b.Cleanup(func() { g.Close(); vault.Close() })
	return g, took
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// spent are the times of one contender.
type spent []time.Duration

func (s spent) at(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func (s spent) total() (sum time.Duration) {
	for _, d := range s {
		sum += d
	}
	return sum
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// answeredBy reads an answer of the clerk: how many its process has given.
func answeredBy(b *testing.B, text string) (n int) {
	b.Helper()
	if _, err := fmt.Sscanf(strings.TrimPrefix(text, "("), "%d", &n); err != nil {
		b.Fatalf("the clerk answered %q", text)
	}
	return n
}

// pss is the memory of a process in bytes, what it shares divided by those who share
// it.
func pss(b *testing.B, pid int) (bytes int64) {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	check(b, err)
	for line := range strings.Lines(string(data)) {
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &bytes); err == nil {
			return bytes << 10
		}
	}
	b.Fatalf("process %d has no Pss", pid)
	return 0
}

// children are the processes that this one has started.
func children(b *testing.B) (pids []int) {
	b.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	check(b, err)
	for _, f := range files {
		data, err := os.ReadFile(f)
		check(b, err)
		for _, word := range strings.Fields(string(data)) {
			var pid int
			if _, err := fmt.Sscan(word, &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
