package guard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"jird/orchestrator/journal"
	"jird/orchestrator/supervise"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

func TestMain(m *testing.M) {
	sandbox.Stage()
	status := m.Run()
	if status == 0 {
		if err := goleak.Find(goleak.IgnoreTopFunction("jird/sandbox.init.func1.1")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// disk is a store in memory that survives its guards, and fails on demand.
type disk struct {
	mu          sync.Mutex
	records     []Entry
	first       uint64
	checkpoints []Saved
	aside       int
	failAppend  error // of every append, until it is cleared
	failSync    error
	failOpen    error
	lose        int // records that a failing sync drops
}

type log struct {
	d    *disk
	dead error
}

func (d *disk) Salvage(from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) { yield(Entry{}, d.failOpen) }
}

func (d *disk) OpenJournal(bool) (Opened, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failOpen != nil {
		return nil, d.failOpen
	}
	if d.first == 0 {
		d.first = 1
	}
	return &log{d: d}, nil
}

func (d *disk) Newest() (*Saved, []string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.checkpoints) == 0 {
		return nil, nil, nil
	}
	c := d.checkpoints[len(d.checkpoints)-1]
	return &c, nil, nil
}

func (d *disk) PutCheckpoint(s Saved) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checkpoints = append(d.checkpoints, s)
	n := len(d.checkpoints)
	if n < 3 {
		return 0, nil
	}
	d.checkpoints = d.checkpoints[n-3:]
	return d.checkpoints[0].LSN, nil
}

func (d *disk) Renew(next uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records, d.first, d.failOpen = nil, next, nil
	d.aside++
	return nil
}

func (l *log) First() uint64 { l.d.mu.Lock(); defer l.d.mu.Unlock(); return l.d.first }
func (l *log) Last() uint64 {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	return l.d.first + uint64(len(l.d.records)) - 1
}

func (l *log) Records(from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		l.d.mu.Lock()
		all := append([]Entry(nil), l.d.records...)
		l.d.mu.Unlock()
		for _, e := range all {
			if e.LSN < from {
				continue
			}
			var err error
			if len(e.Data) == 0 {
				err = errors.New("checksum")
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (l *log) Append(b []byte) (uint64, error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.dead == nil {
		l.dead = l.d.failAppend
	}
	if l.dead != nil {
		return 0, l.dead
	}
	lsn := l.d.first + uint64(len(l.d.records))
	l.d.records = append(l.d.records, Entry{lsn, b})
	return lsn, nil
}

func (l *log) Sync(_ context.Context, lsn uint64) error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.dead == nil && l.d.failSync != nil {
		l.dead = l.d.failSync
		l.d.failSync = nil
		l.d.records = l.d.records[:len(l.d.records)-l.d.lose]
	}
	return l.dead
}

func (l *log) Wait(ctx context.Context, lsn uint64) error { return l.Sync(ctx, lsn) }

func (l *log) Acknowledged(uint64) bool { return false }

func (l *log) TruncateBefore(lsn uint64) error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for len(l.d.records) > 0 && l.d.records[0].LSN < lsn {
		l.d.records = l.d.records[1:]
		l.d.first++
	}
	return nil
}

func (l *log) LossWindow() time.Duration { return 0 }

func (l *log) Close() error { return nil }

// counter is an agent that counts, and does what it is told to.
const counter = `
(define kept #f)
(define (agent-handle request)
  (case (car request)
    ((add) (memory-set! 'count (+ (memory-ref 'count 0) (cadr request))) (memory-ref 'count 0))
    ((get) (memory-ref 'count 0))
    ((put) (memory-set! (cadr request) (caddr request)) 'ok)
    ((key) (memory-ref (cadr request) #f))
    ((raise) (memory-set! 'count -1) (error "told to"))
    ((die) (memory-set! 'count -1) (exit 9))
    ((hang) (let loop () (loop)))
    ((haunt) (thread-start! (make-thread (lambda () (let loop () (loop))))) 'ok)
    ((grow) (set! kept (make-vector (cadr request) 'x)) 'ok)
    ((save) (checkpoint! 'now) 'ok)
    ((wish) (propose! 'step '(+ 1 1)) 'ok)
    (else VERSION)))
`

func code(version string) string { return strings.ReplaceAll(counter, "VERSION", "'"+version) }

// world is what a guard's tests work with.
type world struct {
	t     testing.TB
	dir   string
	vault *snapshots.Vault
	disk  *disk
	cfg   Config
	mu    sync.Mutex
	said  strings.Builder
}

// newWorld is a world whose test runs beside others.
func newWorld(t testing.TB) *world {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	return newWorldAlone(t)
}

func newWorldAlone(t testing.TB) *world {
	t.Helper()
	r, err := sandbox.FindRuntime(context.Background(), "auto")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	if _, err := isolation.Decide(isolation.Policy{Level: isolation.Full}, isolation.Probe()); err != nil {
		t.Skipf("skipped: %v", err)
	}
	dir := t.TempDir()
	vault, err := snapshots.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vault.Close() })
	w := &world{t: t, dir: dir, vault: vault, disk: &disk{}}
	w.cfg = Config{
		Agent: "a", Vault: vault, Store: w.disk, Deadline: 5 * time.Second, Canary: Canary{Steps: []Step{}},
		Code: codeOf(vault),
		Line: supervise.Config{Sandbox: sandbox.Options{
			Runtime: r, Policy: isolation.Policy{Level: isolation.Full, Heap: 32 << 20}, Wall: 20 * time.Second,
			Compiler: &sandbox.Compiler{Runtime: r, Cache: sandbox.Cache(t.TempDir()), Level: isolation.Full},
		}},
		Say: func(format string, args ...any) {
			w.mu.Lock()
			defer w.mu.Unlock()
			fmt.Fprintf(&w.said, format+"\n", args...)
			t.Logf(format, args...)
		},
	}
	if err := vault.SwapRef("a/live", "", w.version("one")); err != nil {
		t.Fatal(err)
	}
	return w
}

// spoken is all that the guards have said.
func (w *world) spoken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}

func codeOf(vault *snapshots.Vault) func(snapshots.ID) (sandbox.Image, error) {
	return func(id snapshots.ID) (sandbox.Image, error) {
		image, err := vault.Get(id)
		if err != nil {
			return sandbox.Image{}, err
		}
		return sandbox.Image{Files: []sandbox.Source{{Name: "agent.scm", Code: image.File("agent.scm").Data}}}, nil
	}
}

// version stores a version of the agent.
func (w *world) version(name string) snapshots.ID { return w.put(code(name)) }

func (w *world) put(source string) snapshots.ID {
	w.t.Helper()
	id, err := w.vault.Put(snapshots.Image{Name: "a", Files: []snapshots.File{{Path: "agent.scm", Data: []byte(source)}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) open() *Guard {
	w.t.Helper()
	g, err := Open(context.Background(), w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { g.Close() })
	return g
}

// clean lets a guard come and go in order.
func (w *world) clean() {
	w.t.Helper()
	if err := w.open().Close(); err != nil {
		w.t.Fatal(err)
	}
}

// harmRef removes the live ref, or puts something else in its place.
func (w *world) harmRef(content string) {
	w.t.Helper()
	path := filepath.Join(w.dir, "refs", "a", "live")
	err := os.Remove(path)
	if content != "" {
		err = os.WriteFile(path, []byte(content), 0o644)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// crash ends a guard without its last words.
func (w *world) crash(g *Guard) {
	w.t.Helper()
	if err := g.ask(context.Background(), func() { g.log = &log{d: w.disk, dead: errors.New("the guard is dead")} }); err != nil {
		w.t.Fatal(err)
	}
	g.Close()
}

func datum(t testing.TB, src string) sexpr.Value {
	t.Helper()
	v, err := sexpr.Read([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func show(r Result, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	if r.Reply.Status != journal.OK {
		return string(r.Reply.Status) + ": " + r.Reply.Text
	}
	b, err := sexpr.Canonical(r.Reply.Value)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// call makes a call and shows what came back.
func (w *world) call(g *Guard, src string, id ...string) string {
	w.t.Helper()
	return show(g.Call(context.Background(), Request{ID: strings.Join(id, ""), Datum: datum(w.t, src)}))
}

func (w *world) want(got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("got %s, want %s", got, want)
	}
}
