package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"jird/sandbox/isolation"
)

func probes(t testing.TB) Image {
	t.Helper()
	code, err := os.ReadFile("testdata/probe.scm")
	if err != nil {
		t.Fatal(err)
	}
	return Image{Files: []Source{{"probe.scm", code}}}
}

// attempt is something that a candidate may try. The same expression must work
// without isolation and be denied with it.
type attempt struct {
	name   string
	try    func(w *world) string // expression that answers 0 or an errno
	effect func(w *world) bool   // seen outside, after it worked
	denied []syscall.Errno
}

// world is what an attempt may reach for.
type world struct {
	dir     string // of the host, writable by all
	port    int
	other   *Shadow // a sibling
	theirs  string  // the sibling's workspace as this shadow would name it
	outside string  // the sibling's workspace as the test sees it
	accept  chan struct{}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func has(path string) bool { _, err := os.Stat(path); return err == nil }

var attempts = []attempt{
	{"open a file outside", func(w *world) string { return fmt.Sprintf("(probe-open %q)", filepath.Join(w.dir, "secret")) }, nil,
		[]syscall.Errno{syscall.EACCES, syscall.ENOENT}},
	{"open a file of the system", func(*world) string { return `(probe-open "/usr/include/stdio.h")` }, nil, []syscall.Errno{syscall.EACCES}},
	{"write a file outside", func(w *world) string { return fmt.Sprintf("(probe-write %q)", filepath.Join(w.dir, "mark")) },
		func(w *world) bool { return has(filepath.Join(w.dir, "mark")) }, []syscall.Errno{syscall.EACCES, syscall.ENOENT}},
	{"write into another's workspace", func(w *world) string { return fmt.Sprintf("(probe-write %q)", w.theirs+"/mark") },
		func(w *world) bool { return has(w.outside + "/mark") }, []syscall.Errno{syscall.EACCES}},
	{"connect to a port on loopback", func(w *world) string { return fmt.Sprintf("(probe-connect %d)", w.port) },
		func(w *world) bool {
			select {
			case <-w.accept:
				return true
			case <-time.After(200 * time.Millisecond):
				return false
			}
		}, []syscall.Errno{syscall.EPERM}},
	{"run a command", func(w *world) string {
		return fmt.Sprintf(`(probe-run "/usr/bin/touch" %q)`, filepath.Join(w.dir, "ran"))
	},
		func(w *world) bool { return has(filepath.Join(w.dir, "ran")) }, []syscall.Errno{syscall.EPERM}},
	{"fork", func(*world) string { return "(probe-fork)" }, nil, []syscall.Errno{syscall.EPERM}},
	{"signal a sibling", func(w *world) string { return fmt.Sprintf("(probe-kill %d 9)", w.other.PID) },
		func(w *world) bool { <-w.other.exited; return w.other.exit.Signal == syscall.SIGKILL }, []syscall.Errno{syscall.EPERM}},
	{"signal jird", func(*world) string { return fmt.Sprintf("(probe-kill %d 0)", os.Getpid()) }, nil, []syscall.Errno{syscall.EPERM}},
	{"hold a thousand descriptors", func(*world) string { return "(probe-dup 1000)" }, nil, []syscall.Errno{syscall.EMFILE}},
	{"fill the disk", func(*world) string { return `(probe-fill "big" 64)` }, nil, []syscall.Errno{syscall.EFBIG, syscall.ENOSPC, syscall.EACCES}},
}

func newWorld(t *testing.T, e Engine) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), accept: make(chan struct{}, 8), other: shadow(t, e), theirs: "/nowhere", outside: "/nowhere"}
	for dir := w.dir; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "secret"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if z, ok := e.(*Zygote); ok {
		w.outside = z.Workspace(w.other.Slot)
		w.theirs = fmt.Sprintf("%s/%d", isolation.WorkDir, w.other.Slot)
		if z.plan.Level == isolation.None {
			w.theirs = w.outside
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	w.port = listener.Addr().(*net.TCPAddr).Port
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
			w.accept <- struct{}{}
		}
	}()
	return w
}

func errno(t *testing.T, answer string) syscall.Errno {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(answer, "(value "), ")"))
	if err != nil {
		t.Fatalf("the probe answered %s", answer)
	}
	return syscall.Errno(n)
}

// TestAttempts shows that each probe works without isolation, and that it is
// denied, by errno and by its effect being absent, with it.
func TestAttempts(t *testing.T) {
	for _, kind := range []string{"fork", "spawn"} {
		open := engine(t, kind, options(t, kind, isolation.None), probes(t))
		closed := engine(t, kind, options(t, kind, isolation.Full), probes(t))
		for _, a := range attempts {
			t.Run(kind+"/"+a.name, func(t *testing.T) {
				if kind == "spawn" && a.name == "write into another's workspace" {
					a.denied = append(a.denied, syscall.ENOENT) // it has no name there
				}
				if kind == "spawn" && a.name == "open a file of the system" {
					return // a spawned runtime must read the system to start; see Spawner
				}
				t.Run("works without isolation", func(t *testing.T) {
					if kind == "spawn" && a.name == "write into another's workspace" {
						return // spawned shadows have no common folder
					}
					w := newWorld(t, open)
					if e := errno(t, eval(t, shadow(t, open), a.try(w))); e != 0 {
						t.Fatalf("the probe itself fails: %v", e)
					}
					if a.effect != nil && !a.effect(w) {
						t.Fatal("the probe has no effect")
					}
				})
				w := newWorld(t, closed)
				s := shadow(t, closed)
				got := errno(t, eval(t, s, a.try(w)))
				ok := false
				for _, want := range a.denied {
					ok = ok || got == want
				}
				if !ok {
					t.Errorf("errno %v (%d), want one of %v", got, int(got), a.denied)
				}
				if a.name == "signal a sibling" {
					if !alive(w.other.PID) {
						t.Error("the sibling is dead")
					}
				} else if a.effect != nil && a.effect(w) {
					t.Error("the effect is there all the same")
				}
				if got := eval(t, s, "(+ 1 2)"); got != "(value 3)" {
					t.Errorf("afterwards the shadow answers %s", got)
				}
			})
		}
	}
}

// TestRunaways shows that what a candidate may do to itself is bounded, and
// told apart.
func TestRunaways(t *testing.T) {
	for _, kind := range []string{"fork", "spawn"} {
		o := options(t, kind, isolation.Full)
		o.Policy.Heap = 32 << 20
		o.Wall = 3 * time.Second
		e := engine(t, kind, o, probes(t))
		ask := func(t *testing.T, text string) (*Shadow, error) {
			s := shadow(t, e)
			v, err := s.Ask(t.Context(), read(t, "(eval "+text+")"))
			if err == nil {
				t.Logf("answered %s", show(v))
			}
			return s, err
		}
		failure := func(t *testing.T, text string) *Failure {
			t.Helper()
			_, err := ask(t, text)
			var f *Failure
			if !errors.As(err, &f) {
				t.Fatalf("got %v, want a failure", err)
			}
			return f
		}
		t.Run(kind+"/loop for ever", func(t *testing.T) {
			if f := failure(t, "(let loop () (loop))"); f.Cause != TimedOut || f.CPU < 100*time.Millisecond {
				t.Error(f)
			}
		})
		t.Run(kind+"/sleep past the deadline", func(t *testing.T) {
			if f := failure(t, "(probe-sleep 60)"); f.Cause != TimedOut || f.CPU > f.Wall/2 {
				t.Error(f)
			}
		})
		t.Run(kind+"/recurse without end", func(t *testing.T) {
			if _, err := ask(t, "(let f ((n 0)) (+ 1 (f (+ n 1))))"); err != nil {
				t.Error("the heap limit did not catch it: ", err)
			}
		})
		t.Run(kind+"/allocate without end", func(t *testing.T) {
			if _, err := ask(t, "(let f ((l '())) (f (cons (make-vector 1000 0) l)))"); err != nil {
				t.Error("the heap limit did not catch it: ", err)
			}
		})
		t.Run(kind+"/flood stdout", func(t *testing.T) {
			s, err := ask(t, `(let loop ((i 0)) (if (< i 20000) (begin (display "flood flood flood ") (newline) (loop (+ i 1)))))`)
			if err != nil {
				t.Fatal(err)
			}
			if exit := s.Close(); len(exit.Stdout) != o.Output || !exit.Truncated {
				t.Errorf("kept %d bytes of stdout, truncated %v; the limit is %d", len(exit.Stdout), exit.Truncated, o.Output)
			}
		})
		t.Run(kind+"/garbage in the channel", func(t *testing.T) {
			if f := failure(t, `(begin (probe-say 3 "\xff;\xff;\xff;\xff;garbage") (probe-sleep 60))`); f.Cause != Garbled {
				t.Error(f)
			}
		})
		t.Run(kind+"/exit silently", func(t *testing.T) {
			if f := failure(t, "(probe-exit 7)"); f.Cause != Ended || f.Exit.Code != 7 {
				t.Error(f)
			}
		})
		t.Run(kind+"/jird goes on", func(t *testing.T) {
			if got := eval(t, shadow(t, e), "(* 6 7)"); got != "(value 42)" {
				t.Error(got)
			}
		})
	}
}
