package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"jird/sandbox/isolation"
	"jird/sandbox/wire"
	"jird/snapshots/sexpr"
)

// leftNothing checks, after everything else of the test was undone, that it
// left no process, descriptor, goroutine or temporary folder.
func leftNothing(t *testing.T) {
	t.Helper()
	_ = onStarter(func() error { return nil }) // the one goroutine that stays
	if r, w, err := os.Pipe(); err == nil {    // the first makes the two descriptors that stay
		r.Close()
		w.Close()
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	running := goleak.IgnoreCurrent()
	descriptors := entries(t, "/proc/self/fd")
	before := len(descendants(t))
	t.Cleanup(func() {
		goleak.VerifyNone(t, running)
		for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			children, open, folders := descendants(t), entries(t, "/proc/self/fd"), entries(t, temp)
			if len(children) <= before && len(open) <= len(descriptors) && len(folders) == 0 {
				return
			}
			if time.Now().After(end) {
				for _, pid := range children {
					stat, _ := os.ReadFile("/proc/" + pid + "/stat")
					t.Logf("%s", stat)
				}
				t.Errorf("left behind: children %v, %d descriptors of %d, folders %v", children, len(open), len(descriptors), folders)
				return
			}
		}
	})
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// descendants lists the children of this process, dead ones too.
func descendants(t *testing.T) (pids []string) {
	t.Helper()
	for _, name := range entries(t, "/proc") {
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(after); len(f) > 1 && f[1] == fmt.Sprint(os.Getpid()) {
			pids = append(pids, name)
		}
	}
	return pids
}

// bed is what a behaviour is tried on: an engine's kind and a runtime.
type bed struct {
	kind    string
	options Options
}

func (b bed) open(t *testing.T, im Image) Engine { return engine(t, b.kind, b.options, im) }

func (b bed) openErr(t *testing.T, ctx context.Context, im Image) error {
	t.Helper()
	var e Engine
	var err error
	if b.kind == "fork" {
		e, err = OpenZygote(ctx, b.options, im)
	} else {
		e, err = OpenSpawner(ctx, b.options, im)
	}
	if err == nil {
		e.Close()
		t.Fatal("it opens")
	}
	return err
}

func source(code string) Image { return Image{Files: []Source{{"agent.scm", []byte(code)}}} }

var conformance = []struct {
	name string
	run  func(t *testing.T, b bed)
}{
	{"answers an eval and a call", func(t *testing.T, b bed) {
		im := source(`(define (agent-handle request)
  (memory-set! "seen" (+ 1 (memory-ref "seen" 0)))
  (list request (memory-ref "seen" 0) (memory-ref "kept" #f)))`)
		im.Memory = read(t, `(("seen" . 7) ("kept" . "x"))`)
		s := shadow(t, b.open(t, im))
		for range 2 { // the second starts from the image's memory again
			v, err := s.Ask(t.Context(), read(t, `(call (hello "w" 2.5))`))
			if want := `(reply ((hello "w" 2.5) 8 "x") ((memory-set! "seen" 8)))`; err != nil || show(v) != want {
				t.Errorf("got %s, %v; want %s", show(v), err, want)
			}
		}
		for text, want := range map[string]string{
			`(+ 1 2)`: "(value 3)", `(string-append "é" "λ")`: `(value "éλ")`, `(expt 2 100)`: "(value 1267650600228229401496703205376)",
			`(/ 1. 3.)`: "(value 0.3333333333333333)", `(raise 'no)`: `(raised "raised no")`, `(memory-ref "kept" #f)`: `(value "x")`,
		} {
			if got := eval(t, s, text); got != want {
				t.Errorf("%s gives %s, want %s", text, got, want)
			}
		}
	}},
	{"shadows are children of this process, in parallel", func(t *testing.T, b bed) {
		e := b.open(t, source("(define x 1)"))
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				s := shadow(t, e)
				stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID))
				if _, after, _ := strings.Cut(string(stat), ") "); err != nil || strings.Fields(after)[1] != fmt.Sprint(os.Getpid()) {
					t.Errorf("%s, %v", stat, err)
				}
				if got := eval(t, s, fmt.Sprintf("(* %d %d)", i, i)); got != fmt.Sprintf("(value %d)", i*i) {
					t.Error(got)
				}
			})
		}
		wg.Wait()
	}},
	{"scores the packer", func(t *testing.T, b bed) {
		e := b.open(t, packer(t))
		if names := e.Cases(); len(names) != 10 || names[0] == "" || names[0] == names[9] {
			t.Errorf("cases %q", names)
		}
		definition := "((real (define (priority item remaining) (- item remaining))))"
		v, err := shadow(t, e).Ask(t.Context(), read(t, "(score 1000000 0 2 "+definition+" "+definition+")"))
		if err != nil {
			t.Fatal(err)
		}
		scores := v.(sexpr.List)
		if len(scores) != 3 || !strings.HasPrefix(show(scores[1]), "(ok ") || show(scores[1]) != show(scores[2]) {
			t.Errorf("got %s", show(v))
		}
		v, err = shadow(t, e).Ask(t.Context(), read(t, "(score 10 0 2 "+definition+")"))
		if err != nil || show(v) != "(scores (fuel 10))" {
			t.Errorf("with ten steps: %s, %v", show(v), err)
		}
	}},
	{"two shadows do not see each other's changes", func(t *testing.T, b bed) {
		e := b.open(t, source("(define state (make-vector 10 'clean))"))
		one, two := shadow(t, e), shadow(t, e)
		eval(t, one, "(begin (vector-set! state 0 'changed) 0)")
		if got := eval(t, one, "(vector-ref state 0)"); got != "(value changed)" {
			t.Error(got)
		}
		for _, s := range []*Shadow{two, shadow(t, e)} {
			if got := eval(t, s, "(vector-ref state 0)"); got != "(value clean)" {
				t.Error(got)
			}
		}
	}},
	{"reports exit, processor time, memory and output", func(t *testing.T, b bed) {
		b.options.Policy.Heap = 512 << 20
		e := b.open(t, source("(define x 1)"))
		idle, s := shadow(t, e), shadow(t, e)
		eval(t, s, `(let ((end (+ (cpu-time) .4))) (let loop () (if (< (cpu-time) end) (loop) 0)))`)
		if got := eval(t, s, "(u8vector-length (make-u8vector 400000000 1))"); got != "(value 400000000)" {
			t.Fatal(got)
		}
		eval(t, s, `(begin (display "to out") (display "to err" (current-error-port)) (force-output (current-error-port)) 0)`)
		f := failure(t, s, "(exit 3)")
		resting := idle.Close()
		if f.Cause != Ended || f.Exit.Code != 3 || f.Exit.Signal != 0 || f.Exit.Stdout != "to out" || f.Exit.Stderr != "to err" || f.Exit.Truncated {
			t.Errorf("%+v", f.Exit)
		}
		if f.Exit.CPU < resting.CPU+300*time.Millisecond {
			t.Errorf("%v of processor time after 400 ms of work, %v after none", f.Exit.CPU, resting.CPU)
		}
		// The kernel counts a spawned process from its fork, jird's memory included.
		if f.Exit.MaxRSS < 400_000_000 || b.kind == "fork" && resting.MaxRSS > 200_000_000 {
			t.Errorf("%d bytes after touching 400 MB, %d after nothing", f.Exit.MaxRSS, resting.MaxRSS)
		}
		if again := s.Close(); again != f.Exit {
			t.Errorf("closed again it says %+v", again)
		}
		killed := shadow(t, e)
		if exit := killed.Kill(); exit.Signal != syscall.SIGKILL || exit.Code != -1 {
			t.Errorf("killed: %+v", exit)
		}
	}},
	{"keeps a bounded part of both outputs", func(t *testing.T, b bed) {
		s := shadow(t, b.open(t, source("(define x 1)")))
		const text = `(begin (let loop ((i 0)) (if (< i 9000) (begin (display "0123456789" PORT) (loop (+ i 1))))) (force-output PORT) 0)`
		for _, port := range []string{"(current-output-port)", "(current-error-port)"} {
			if got := eval(t, s, strings.ReplaceAll(text, "PORT", port)); got != "(value 0)" {
				t.Fatal(got)
			}
		}
		exit := s.Close()
		want := strings.Repeat("0123456789", b.options.Output/10+1)[:b.options.Output]
		if exit.Stdout != want || exit.Stderr != want || !exit.Truncated {
			t.Errorf("kept %d and %d bytes, truncated %v", len(exit.Stdout), len(exit.Stderr), exit.Truncated)
		}
	}},
	{"a deadline kills", func(t *testing.T, b bed) {
		s := shadow(t, b.open(t, source("(define x 1)")))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := s.Ask(ctx, read(t, "(eval (let loop () (loop)))"))
		var f *Failure
		if !errors.As(err, &f) || f.Cause != TimedOut || f.Exit.Signal != syscall.SIGKILL || alive(s.PID) {
			t.Errorf("%v", err)
		}
	}},
	{"a cancelled context kills, and is the error", func(t *testing.T, b bed) {
		e := b.open(t, source("(define x 1)"))
		s := shadow(t, e)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := s.Ask(ctx, read(t, "(eval (let loop () (loop)))")); err != context.Canceled || alive(s.PID) {
			t.Errorf("%v", err)
		}
		if _, err := e.Start(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("starting: %v", err)
		}
		if err := b.openErr(t, ctx, source("(define x 1)")); !errors.Is(err, context.Canceled) {
			t.Errorf("opening: %v", err)
		}
	}},
	{"an image that does not load says where", func(t *testing.T, b bed) {
		for name, c := range map[string]struct {
			im         Image
			step, says string
		}{
			"syntax":         {source("(define x 1)\n(define y"), "agent.scm", ""},
			"run time":       {source("(define x (car 5))"), "agent.scm", "car"},
			"raised":         {source(`(raise "the agent says no")`), "agent.scm", "the agent says no"},
			"endless":        {source("(let loop () (loop))"), "agent.scm", "not loaded within 1s"},
			"no fitness":     {Image{Recipe: &Recipe{Count: 1, Data: sexpr.List{}}}, "fitness-cases", "fitness-cases is not defined"},
			"no cases":       {Image{Files: source("(define (fitness-cases r c s) '())").Files, Recipe: &Recipe{Count: 1, Data: sexpr.List{}}}, "fitness-cases", "at least one"},
			"endless memory": {source("(define big (let f ((l '())) (f (cons (make-vector 1000 0) l))))"), "agent.scm", "overflow"},
			"no memory":      {source(`(memory-set! 1 2)`), "agent.scm", "outside a call"},
		} {
			b := b
			if name == "endless" {
				b.options.Wall = time.Second
			}
			var load *LoadError
			if err := b.openErr(t, t.Context(), c.im); !errors.As(err, &load) || load.Step != c.step || !strings.Contains(load.Message, c.says) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}},
	{"frames over the limits are refused in both directions", func(t *testing.T, b bed) {
		b.options.Policy.Heap = 512 << 20
		e := b.open(t, source(`(define (agent-handle request) (if (number? request) (make-string request #\x) (string-length request)))`))
		s := shadow(t, e)
		big := sexpr.String(strings.Repeat("x", wire.MaxFrame))
		if _, err := s.Ask(t.Context(), sexpr.List{symbol("call"), big}); !errors.Is(err, wire.ErrUnsendable) {
			t.Errorf("sending it: %v", err)
		}
		for size, want := range map[int]string{1 << 20: fmt.Sprintf(`(reply "%s" ())`, strings.Repeat("x", 1<<20)), wire.MaxFrame: fmt.Sprintf(`(raised "an answer of %d bytes is over the limit of %d")`, wire.MaxFrame+len(`(reply "" ())`), wire.MaxFrame)} {
			v, err := s.Ask(t.Context(), sexpr.List{symbol("call"), number(int64(size))})
			if got := show(v); err != nil || got != want {
				t.Errorf("an answer of %d: %.80s, %v", size, got, err)
			}
		}
		large := sexpr.String(strings.Repeat("x", 4<<20))
		if v, err := s.Ask(t.Context(), sexpr.List{symbol("call"), large}); err != nil || show(v) != fmt.Sprintf("(reply %d ())", 4<<20) {
			t.Errorf("a request of 4 MiB: %.80s, %v", show(v), err)
		}
	}},
	{"hostile frames end the shadow that sent them", func(t *testing.T, b bed) {
		e := b.open(t, source(`
(define (say text) ; a frame of this text
  (let ((n (string-length text)))
    (for-each (lambda (b) (write-u8 (modulo (quotient n b) 256) jird-port)) '(16777216 65536 256 1))
    (write-substring text 0 n jird-port)
    (force-output jird-port)))
(define (times n text) (let ((p (open-output-string))) (let loop ((i 0)) (if (< i n) (begin (display text p) (loop (+ i 1))) (get-output-string p)))))`))
		for name, try := range map[string]string{
			"nested":        `(say (times 100000 "("))`,
			"nested twice":  `(say (string-append (times 5000 "(") (times 5000 ")")))`,
			"items":         `(say (string-append "(" (times 1200000 "1 ") ")"))`,
			"digits":        `(say (times 200000 "1"))`,
			"exponent":      `(say "1e999999999999")`,
			"comment":       `(say "(a ; b\n)")`,
			"empty":         `(say "")`,
			"two data":      `(say "1 2")`,
			"brackets":      `(say "[1]")`,
			"not UTF-8":     `(begin (for-each (lambda (b) (write-u8 b jird-port)) '(0 0 0 3 34 255 34)) (force-output jird-port))`,
			"half a length": `(begin (write-u8 1 jird-port) (force-output jird-port) (exit 0))`,
		} {
			s := shadow(t, e)
			_, err := s.Ask(t.Context(), read(t, "(eval (begin "+try+" (thread-sleep! 60)))"))
			var f *Failure
			if want := map[bool]Cause{true: Ended, false: Garbled}[name == "half a length"]; !errors.As(err, &f) || f.Cause != want {
				t.Errorf("%s: %v", name, err)
			}
		}
		s := shadow(t, e) // an answer in advance is not taken for the next one's
		if got := eval(t, s, `(begin (jird-write-frame '(value forged)) 1)`); got != "(value forged)" {
			t.Fatal(got)
		}
		time.Sleep(50 * time.Millisecond)
		if f := failure(t, s, "2"); f.Cause != Garbled {
			t.Error(f)
		}
	}},
	{"another protocol is refused", func(t *testing.T, b bed) {
		for _, hello := range []string{"(list 'ready 2 \"x\" '())", "'garbage", "(list 'ready 1 \"x\" '(7))"} {
			err := b.openErr(t, t.Context(), source("(jird-write-frame "+hello+")"))
			if !errors.Is(err, wire.ErrGarbage) {
				t.Errorf("%s: %v", hello, err)
			}
		}
	}},
	{"a shadow may be closed at any time", func(t *testing.T, b bed) {
		e := b.open(t, source("(define x 1)"))
		for _, after := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
			s := shadow(t, e)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() { time.Sleep(after); s.Close() })
			}
			_, err := s.Ask(t.Context(), read(t, "(eval (let loop () (loop)))"))
			wg.Wait()
			var f *Failure
			if !errors.As(err, &f) || f.Cause == TimedOut || alive(s.PID) {
				t.Errorf("after %v: %v", after, err)
			}
			if _, err := s.Ask(t.Context(), read(t, "(eval 1)")); !errors.As(err, &f) {
				t.Errorf("asked when closed: %v", err)
			}
		}
	}},
	{"an engine may be closed at any time, and takes its shadows along", func(t *testing.T, b bed) {
		e := b.open(t, source("(define x 1)"))
		asked, idle := shadow(t, e), shadow(t, e)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := asked.Ask(context.Background(), sexpr.List{symbol("eval"), sexpr.List{symbol("thread-sleep!"), number(60)}})
			var f *Failure
			if !errors.As(err, &f) || f.Cause != Ended {
				t.Errorf("the one asked: %v", err)
			}
		})
		for range 4 {
			wg.Go(func() {
				for {
					s, err := e.Start(context.Background())
					if err != nil {
						return
					}
					s.Close()
				}
			})
			wg.Go(func() { time.Sleep(30 * time.Millisecond); e.Close() })
		}
		wg.Wait()
		e.Close()
		if alive(asked.PID) || alive(idle.PID) {
			t.Error("a shadow outlived its engine")
		}
		if _, err := e.Start(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("starting on a closed engine: %v", err)
		}
	}},
}

// TestConformance: every engine, on every runtime that is installed, isolated
// and not, behaves alike and leaves nothing behind.
func TestConformance(t *testing.T) {
	for _, name := range []string{"gambit", "gerbil"} {
		t.Run(name, func(t *testing.T) {
			r, err := FindRuntime(t.Context(), name)
			if err != nil {
				t.Skipf("skipped: %v", err)
			}
			for _, kind := range []string{"fork", "spawn"} {
				for _, level := range []isolation.Level{isolation.Full, isolation.None} {
					b := bed{kind, options(t, kind, level)}
					b.options.Runtime, b.options.Compiler.Runtime = r, r
					for _, c := range conformance {
						t.Run(fmt.Sprintf("%s/%s/%s", kind, level, c.name), func(t *testing.T) {
							leftNothing(t)
							c.run(t, b)
						})
					}
				}
			}
		})
	}
}

// Without a compiler sources are interpreted: the machines for which Spawner is.
func TestInterpreted(t *testing.T) {
	leftNothing(t)
	o := options(t, "spawn", isolation.Full)
	o.Compiler = nil
	if o.Kind() != "spawn" {
		t.Errorf("kind %q without a compiler", o.Kind())
	}
	e, err := Open(t.Context(), o, source("(define (agent-handle x) (list x x))"))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	v, err := shadow(t, e).Ask(t.Context(), read(t, "(call 1)"))
	if err != nil || show(v) != "(reply (1 1) ())" {
		t.Errorf("%s, %v", show(v), err)
	}
	if _, err := OpenZygote(t.Context(), o, Image{}); err == nil || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("forking without a compiler: %v", err)
	}
}
