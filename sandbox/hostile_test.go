package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"jird/sandbox/isolation"
)

// loading evaluates text while the image loads: the answer of each probe is in
// the list `tried`.
func loading(t *testing.T, tries ...string) Image {
	t.Helper()
	im := probes(t)
	im.Files = append(im.Files, Source{"agent.scm", []byte("(define tried (list " + strings.Join(tries, " ") + "))")})
	return im
}

// An agent's own code runs while the zygote loads it. It may not do more than a
// shadow may; above all not fork, nor outlive jird.
func TestCodeThatLoads(t *testing.T) {
	self := os.Getpid()
	dir := t.TempDir()
	for parent := dir; parent != "/tmp" && parent != "/"; parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	tries := []string{
		"(probe-fork)", "(probe-clone)", fmt.Sprintf("(probe-run \"/usr/bin/touch\" %q)", dir+"/ran"), "(probe-live-on)",
		fmt.Sprintf("(probe-kill %d 0)", self), fmt.Sprintf("(probe-open \"/proc/%d/environ\")", self), fmt.Sprintf("(probe-write %q)", dir+"/mark"),
	}
	t.Run("works without isolation", func(t *testing.T) {
		leftNothing(t)
		z := engine(t, "fork", options(t, "fork", isolation.None), loading(t, tries...))
		var clone int
		if _, err := fmt.Sscanf(eval(t, shadow(t, z), "tried"), "(value (0 %d 0 0 0 0 0))", &clone); err != nil {
			t.Fatal(eval(t, shadow(t, z), "tried"))
		}
		if _, err := syscall.Wait4(clone, nil, 0, nil); err != nil || !has(dir+"/ran") || !has(dir+"/mark") {
			t.Errorf("the clone was not this process's child: %v", err)
		}
		os.Remove(dir + "/ran")
		os.Remove(dir + "/mark")
	})
	t.Run("is denied", func(t *testing.T) {
		leftNothing(t)
		z := engine(t, "fork", options(t, "fork", isolation.Full), loading(t, tries...))
		if got := eval(t, shadow(t, z), "tried"); got != "(value (1 -1 1 1 1 2 2))" {
			t.Errorf("errnos %s", got)
		}
		if has(dir+"/ran") || has(dir+"/mark") {
			t.Error("the effect is there all the same")
		}
	})
	t.Run("exec of the runtime", func(t *testing.T) {
		o := options(t, "fork", isolation.Full)
		z := engine(t, "fork", o, loading(t, fmt.Sprintf("(probe-exec %q \"-v\")", o.Runtime.Interpreter), `(probe-write "/work/0/left")`))
		s := shadow(t, z)
		if got := eval(t, s, "tried"); got != "(value (1 0))" {
			t.Errorf("errnos %s", got)
		}
		if s.Slot != 0 {
			t.Fatalf("slot %d", s.Slot)
		}
		if got := eval(t, s, `(length (directory-files "."))`); got != "(value 0)" {
			t.Errorf("the first shadow's workspace holds %s", got)
		}
	})
}

// A zygote that names another process as its shadow must not have it killed.
func TestZygoteNamesAnother(t *testing.T) {
	options(t, "fork", isolation.Full) // or skip
	victim := exec.Command("sleep", "60")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { victim.Process.Kill(); victim.Wait() }()
	here, err := network(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, pid := range map[string]int{"another": victim.Process.Pid, "init": 1, "jird": os.Getpid(), "nobody": 1 << 30, "not a number of a process": 0} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(pair[0], true); err != nil {
			t.Fatal(err)
		}
		theirs := os.NewFile(uintptr(pair[1]), "theirs")
		defer theirs.Close()
		z := &Zygote{
			options: Options{Wall: 5 * time.Second}, plan: isolation.Plan{Level: isolation.Full}, home: here + 1, said: &tail{},
			control: os.NewFile(uintptr(pair[0]), "ours"), down: make(chan struct{}), proc: &process{cmd: victim},
		}
		go func() {
			var b [16]byte
			theirs.Read(b[:])
			var reply [8]byte
			binary.NativeEndian.PutUint64(reply[:], uint64(pid))
			theirs.Write(reply[:])
		}()
		if s, err := z.Start(t.Context()); err == nil {
			t.Errorf("%s: got shadow %d", name, s.PID)
		}
		if _, err := z.Start(t.Context()); err == nil {
			t.Errorf("%s: the zygote is still asked", name)
		}
		z.control.Close()
	}
	if !alive(victim.Process.Pid) {
		t.Error("the victim is dead")
	}
}

// A zygote that dies or hangs is said within the deadline, its shadows go on,
// and no later start waits for it.
func TestZygoteGone(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "hangs": syscall.SIGSTOP} {
		for _, workspace := range []int64{0, 1 << 20} {
			t.Run(fmt.Sprintf("%s, workspace %d", name, workspace), func(t *testing.T) {
				leftNothing(t)
				o := options(t, "fork", isolation.Full)
				o.Policy.Workspace = workspace
				o.Wall = 2 * time.Second
				z := engine(t, "fork", o, source("(define x 1)")).(*Zygote)
				s := shadow(t, z)
				if err := syscall.Kill(z.PID(), signal); err != nil {
					t.Fatal(err)
				}
				if _, err := z.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "zygote") {
					t.Errorf("starting: %v", err)
				}
				begin := time.Now()
				for range 100 {
					if _, err := z.Start(t.Context()); err == nil {
						t.Error("it starts again")
					}
				}
				if time.Since(begin) > o.Wall {
					t.Error("each start waited for it")
				}
				if got := eval(t, s, "(+ 1 2)"); got != "(value 3)" {
					t.Errorf("its shadow answers %s", got)
				}
			})
		}
	}
}

// A zygote forks as often as it is asked to, and is no larger for it.
func TestZygoteDoesNotGrow(t *testing.T) {
	z := engine(t, "fork", options(t, "fork", isolation.Full), source("(define x 1)")).(*Zygote)
	forks := func(n int) int64 {
		for range n {
			shadow(t, z).Kill()
		}
		return privateKiB(t, z.PID())
	}
	before := forks(50)
	if after := forks(500); after > before+256 {
		t.Errorf("%d KiB before 500 forks, %d after", before, after)
	}
}

// A shadow's death is reported even if somebody keeps its output open.
func TestOutputKeptOpen(t *testing.T) {
	s := shadow(t, engine(t, "fork", options(t, "fork", isolation.None), probes(t)))
	sleeper := failure(t, s, `(begin (shell-command "sleep 30 & echo $!") (probe-exit 1))`)
	var pid int
	if _, err := fmt.Sscan(sleeper.Exit.Stdout, &pid); err != nil {
		t.Fatalf("%+v", sleeper.Exit)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	if !alive(pid) || sleeper.Exit.Code != 1 {
		t.Errorf("%+v", sleeper.Exit)
	}
}

// Macros run where the compiler runs. What they find becomes a constant.
func TestMacros(t *testing.T) {
	image := func(w *world) Image {
		return source(fmt.Sprintf(`
(define-macro (find)
  (define (try thunk) (with-exception-catcher (lambda (e) #f) (lambda () (thunk) #t)))
  (define (shell command) (= 0 (shell-command command)))
  (list 'quote
   (list (file-exists? "/etc/passwd")
         (file-exists? "/proc/%d/environ")
         (try (lambda () (open-input-file %q)))
         (try (lambda () (call-with-output-file %q (lambda (p) (write 1 p)))))
         (try (lambda () (force-output (open-tcp-client (list address: "127.0.0.1" port-number: %d)))))
         (shell "test $(ulimit -v) = unlimited")
         (shell "test $(ulimit -f) = unlimited")
         (shell "test $(ulimit -t) = unlimited")
         (shell "n=0; while test $n -lt 100; do sleep 2 & n=$((n+1)); done 2>&1")
         (begin (thread-sleep! 4) #t) ; until those processes have ended
         (shell "cp /bin/true /tmp/jird-macro && /tmp/jird-macro && rm /tmp/jird-macro"))))
(define found (find))`, os.Getpid(), w.file("secret"), w.file("mark"), w.port))
	}
	for level, want := range map[isolation.Level]string{
		isolation.None: "(#t #t #t #t #t #t #t #t #t #t #t)",
		isolation.Full: "(#f #f #f #f #f #f #f #f #f #t #f)",
	} {
		t.Run(string(level), func(t *testing.T) {
			o := options(t, "fork", level)
			w := newWorld(t, engine(t, "fork", options(t, "fork", isolation.None), probes(t)))
			e := engine(t, "fork", o, image(w))
			if got := eval(t, shadow(t, e), "found"); got != "(value "+want+")" {
				t.Errorf("found %s, want %s", got, want)
			}
			if want := level == isolation.None; has(w.file("mark")) != want || accepted(w) != want {
				t.Errorf("the effects should be there: %v", want)
			}
		})
	}
}

// A macro that never ends is ended with all that it started.
func TestEndlessMacro(t *testing.T) {
	leftNothing(t)
	o := options(t, "fork", isolation.Full)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := OpenZygote(ctx, o, source(`(define-macro (f) (shell-command "sleep 300 & sleep 300") 1) (f)`))
	if !errors.Is(err, ctx.Err()) || err == nil {
		t.Errorf("got %v", err)
	}
	if out, _ := exec.Command("pgrep", "-f", "sleep 300").Output(); len(out) > 0 {
		t.Errorf("still there: %s", out)
	}
}
