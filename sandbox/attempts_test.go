package sandbox

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
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
	effect func(w *world) bool   // seen outside, after it worked; nil if there is none to see
	denied []syscall.Errno
}

// world is what an attempt may reach for.
type world struct {
	dir     string // of the host, writable by all
	port    int
	name    string  // of an abstract socket
	other   *Shadow // a sibling
	theirs  string  // the sibling's workspace as this shadow would name it
	outside string  // the sibling's workspace as the test sees it
	accept  chan struct{}
	signals chan os.Signal // SIGUSR1 to this process
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func has(path string) bool { _, err := os.Stat(path); return err == nil }

func soon[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	case <-time.After(200 * time.Millisecond):
		return false
	}
}

func accepted(w *world) bool { return soon(w.accept) }

func fixed(text string) func(*world) string { return func(*world) string { return text } }

var (
	perm   = []syscall.Errno{syscall.EPERM}
	noFile = []syscall.Errno{syscall.EACCES, syscall.ENOENT}
)

var attempts = []attempt{
	{"open a file outside", func(w *world) string { return fmt.Sprintf("(probe-open %q)", w.file("secret")) }, nil, noFile},
	{"open a file of the system", fixed(`(probe-open "/usr/include/stdio.h")`), nil, []syscall.Errno{syscall.EACCES}},
	{"write a file outside", func(w *world) string { return fmt.Sprintf("(probe-write %q)", w.file("mark")) },
		func(w *world) bool { return has(w.file("mark")) }, noFile},
	{"remove a file outside", func(w *world) string { return fmt.Sprintf("(probe-unlink %q)", w.file("secret")) },
		func(w *world) bool { return !has(w.file("secret")) }, append(noFile, syscall.EROFS)},
	{"rename a file outside", func(w *world) string { return fmt.Sprintf("(probe-rename %q %q)", w.file("secret"), w.file("moved")) },
		func(w *world) bool { return has(w.file("moved")) }, append(noFile, syscall.EROFS)},
	{"change a mode", func(w *world) string { return fmt.Sprintf("(probe-chmod %q)", w.file("secret")) },
		func(w *world) bool {
			info, err := os.Stat(w.file("secret"))
			return err == nil && info.Mode().Perm() == 0o777
		}, perm},
	{"mount", func(w *world) string { return fmt.Sprintf("(probe-mount %q)", w.file("mount")) },
		func(w *world) bool {
			mounts, _ := os.ReadFile("/proc/self/mounts")
			return strings.Contains(string(mounts), w.file("mount"))
		}, perm},
	{"write into another's workspace", func(w *world) string { return fmt.Sprintf("(probe-write %q)", w.theirs+"/mark") },
		func(w *world) bool { return has(w.outside + "/mark") }, noFile},
	{"connect to a port on loopback", func(w *world) string { return fmt.Sprintf("(probe-connect %d)", w.port) }, accepted, perm},
	{"connect to an abstract socket", func(w *world) string { return fmt.Sprintf("(probe-abstract %q)", w.name) }, accepted, perm},
	{"run a command", func(w *world) string { return fmt.Sprintf(`(probe-run "/usr/bin/touch" %q)`, w.file("ran")) },
		func(w *world) bool { return has(w.file("ran")) }, perm},
	{"fork", fixed("(probe-fork)"), nil, perm},
	{"signal a sibling", func(w *world) string { return fmt.Sprintf("(probe-kill %d 9)", w.other.PID) },
		func(w *world) bool { return soon(w.other.exited) && w.other.exit.Signal == syscall.SIGKILL }, perm},
	{"signal jird", func(*world) string { return fmt.Sprintf("(probe-kill %d %d)", os.Getpid(), syscall.SIGUSR1) },
		func(w *world) bool { return soon(w.signals) }, perm},
	{"signal everybody", fixed("(probe-kill -1 0)"), nil, perm},
	{"have the kernel signal a sibling", func(w *world) string { return fmt.Sprintf("(probe-setown %d)", w.other.PID) }, nil, perm},
	{"trace a sibling", func(w *world) string { return fmt.Sprintf("(probe-ptrace %d)", w.other.PID) },
		func(w *world) bool {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.other.PID))
			return !strings.Contains(string(status), "TracerPid:\t0\n")
		}, perm},
	{"limit a sibling", func(w *world) string { return fmt.Sprintf("(probe-raise %d)", w.other.PID) },
		func(w *world) bool {
			limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.other.PID))
			return slices.Contains(strings.Fields(string(limits)), "8")
		}, perm},
	{"read jird's memory", func(*world) string { return fmt.Sprintf(`(probe-open "/proc/%d/mem")`, os.Getpid()) }, nil, noFile},
	{"read jird's environment", func(*world) string { return fmt.Sprintf(`(probe-open "/proc/%d/environ")`, os.Getpid()) }, nil, noFile},
	{"become root", fixed("(probe-setuid)"), nil, perm},
	{"take capabilities back", fixed("(probe-capabilities)"), nil, perm},
	{"raise a limit", fixed("(probe-raise 0)"), nil, perm},
	{"replace the filter", fixed("(probe-filter)"), nil, perm},
	{"outlive jird", fixed("(probe-live-on)"), nil, perm},
	{"hold a thousand files", fixed(`(probe-files "." 1000)`), nil, []syscall.Errno{syscall.EMFILE}},
	{"create a thousand files", fixed("(probe-create 1100)"), nil, []syscall.Errno{syscall.ENOSPC}},
	{"fill the disk", fixed(`(probe-fill "big" 64)`), nil, []syscall.Errno{syscall.EFBIG, syscall.ENOSPC}},
}

func newWorld(t *testing.T, e Engine) *world {
	t.Helper()
	w := &world{
		dir: t.TempDir(), accept: make(chan struct{}, 8), other: shadow(t, e), theirs: "/nowhere", outside: "/nowhere",
		name: fmt.Sprintf("jird-test-%d-%d", os.Getpid(), time.Now().UnixNano()), signals: make(chan os.Signal, 8),
	}
	for dir := w.dir; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(w.file("secret"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.file("mount"), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(w.file("mount"), syscall.MNT_DETACH) })
	if z, ok := e.(*Zygote); ok {
		w.outside = z.Workspace(w.other.Slot)
		w.theirs = fmt.Sprintf("%s/%d", isolation.WorkDir, w.other.Slot)
		if z.plan.Level == isolation.None {
			w.theirs = w.outside
		}
	}
	signal.Notify(w.signals, syscall.SIGUSR1)
	t.Cleanup(func() { signal.Stop(w.signals) })
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.port = tcp.Addr().(*net.TCPAddr).Port
	abstract, err := net.Listen("unix", "@"+w.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, listener := range []net.Listener{tcp, abstract} {
		t.Cleanup(func() { listener.Close() })
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
	}
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

// needsRoot are attempts that the kernel itself denies to everybody else.
var needsRoot = []string{"mount", "become root", "take capabilities back", "replace the filter", "trace a sibling"}

// notSpawned are attempts of which a spawned shadow is not kept, or which have
// no meaning there; Spawner's comment says so.
var notSpawned = map[string]string{
	"open a file of the system": "a spawned runtime must read the system to start",
	"raise a limit":             "its soft limit is its hard limit, which it cannot raise: TestHardLimits",
}

// TestAttempts shows that each probe works without isolation, and that it is
// denied, by errno and by its effect being absent, with it.
func TestAttempts(t *testing.T) {
	for _, kind := range []string{"fork", "spawn"} {
		open := engine(t, kind, options(t, kind, isolation.None), probes(t))
		closed := engine(t, kind, options(t, kind, isolation.Full), probes(t))
		for _, a := range attempts {
			if kind == "spawn" && notSpawned[a.name] != "" {
				continue
			}
			t.Run(kind+"/"+a.name+"/works without isolation", func(t *testing.T) {
				if os.Getuid() != 0 && slices.Contains(needsRoot, a.name) {
					t.Skip("skipped: without isolation this works for root only")
				}
				w := newWorld(t, open)
				if kind == "spawn" { // no common folder: its own working folder stands for the sibling's
					w.theirs, w.outside = w.dir, w.dir
				}
				if e := errno(t, eval(t, shadow(t, open), a.try(w))); e != 0 {
					t.Fatalf("the probe itself fails: %v", e)
				}
				if a.effect != nil && !a.effect(w) {
					t.Fatal("the probe has no effect")
				}
			})
			t.Run(kind+"/"+a.name+"/is denied", func(t *testing.T) {
				w := newWorld(t, closed)
				s := shadow(t, closed)
				if got := errno(t, eval(t, s, a.try(w))); !slices.Contains(a.denied, got) {
					t.Errorf("errno %v (%d), want one of %v", got, int(got), a.denied)
				}
				if a.effect != nil && a.effect(w) {
					t.Error("the effect is there all the same")
				}
				if !alive(w.other.PID) {
					t.Error("the sibling is dead")
				}
				if got := eval(t, s, "(+ 1 2)"); got != "(value 3)" {
					t.Errorf("afterwards the shadow answers %s", got)
				}
			})
		}
	}
}

// What a shadow is denied needs no workspace to be denied in.
func TestNoWorkspace(t *testing.T) {
	for _, kind := range []string{"fork", "spawn"} {
		o := options(t, kind, isolation.Full)
		o.Policy.Workspace = 0
		e := engine(t, kind, o, probes(t))
		for _, try := range []string{`(probe-fill "big" 64)`, `(probe-fill "/work/big" 64)`, `(probe-fill "/jird/big" 64)`, "(probe-create 1)"} {
			t.Run(kind+"/"+try, func(t *testing.T) {
				got := errno(t, eval(t, shadow(t, e), try))
				if !slices.Contains([]syscall.Errno{syscall.EACCES, syscall.EROFS}, got) {
					t.Errorf("errno %v (%d)", got, int(got))
				}
			})
		}
	}
}

func TestHardLimits(t *testing.T) {
	for _, kind := range []string{"fork", "spawn"} {
		s := shadow(t, engine(t, kind, options(t, kind, isolation.Full), probes(t)))
		if got := errno(t, eval(t, s, "(probe-raise -1)")); got != syscall.EPERM {
			t.Errorf("%s: raising a hard limit gives %v", kind, got)
		}
	}
}

// An exec that works leaves nobody to answer, so its success looks different.
func TestExec(t *testing.T) {
	for _, kind := range []string{"fork", "spawn"} {
		t.Run(kind, func(t *testing.T) {
			open := engine(t, kind, options(t, kind, isolation.None), probes(t))
			mark := filepath.Join(t.TempDir(), "mark")
			s := shadow(t, open)
			_, err := s.Ask(t.Context(), read(t, fmt.Sprintf(`(eval (probe-exec "/usr/bin/touch" %q))`, mark)))
			if err == nil || !has(mark) {
				t.Fatalf("the probe itself fails: %v", err)
			}
			o := options(t, kind, isolation.Full)
			closed := shadow(t, engine(t, kind, o, probes(t)))
			for _, program := range []string{"/usr/bin/touch", o.Runtime.Interpreter} {
				if got := errno(t, eval(t, closed, fmt.Sprintf(`(probe-exec %q "-v")`, program))); got != syscall.EPERM {
					t.Errorf("running %s gives errno %v", program, got)
				}
			}
		})
	}
}

// System calls by another architecture's numbers would pass a filter that looks
// at numbers alone.
func TestForeignSystemCalls(t *testing.T) {
	if !has("/lib64/ld-linux-x86-64.so.2") {
		t.Skip("skipped: only amd64 has such calls")
	}
	for _, kind := range []string{"fork", "spawn"} {
		open := engine(t, kind, options(t, kind, isolation.None), probes(t))
		closed := engine(t, kind, options(t, kind, isolation.Full), probes(t))
		if got := eval(t, shadow(t, open), "(probe-foreign 64)"); got != "(value 0)" {
			t.Fatalf("the probe itself fails: %s", got)
		}
		for _, which := range []string{"64", "32"} {
			f := failure(t, shadow(t, closed), "(probe-foreign "+which+")")
			if f.Exit.Signal != syscall.SIGSYS && (which == "64" || f.Exit.Signal != syscall.SIGSEGV) {
				t.Errorf("%s: %v", which, f)
			}
		}
	}
}

// A shadow holds its standard descriptors and its channel, and no other.
func TestDescriptors(t *testing.T) {
	for _, kind := range []string{"fork", "spawn"} {
		for _, level := range []isolation.Level{isolation.None, isolation.Full} {
			s := shadow(t, engine(t, kind, options(t, kind, level), probes(t)))
			if got := eval(t, s, "(probe-descriptors)"); got != "(value 15)" {
				t.Errorf("%s, isolation %s: open descriptors %s", kind, level, got)
			}
			if got := eval(t, s, `(let ((p (open-output-file "x"))) (probe-descriptors))`); got != "(value 31)" {
				t.Errorf("%s, isolation %s: with one file open %s", kind, level, got)
			}
			if got := errno(t, eval(t, s, `(probe-say 4 "x")`)); level == isolation.Full && got != syscall.EBADF && got != 0 {
				t.Errorf("writing to a control channel gives %v", got)
			}
		}
	}
}
