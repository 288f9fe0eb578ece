package experiments

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"jird/experiments/examples"
	"jird/orchestrator"
	"jird/sandbox"
	"jird/sandbox/isolation"
)

func TestMain(m *testing.M) {
	sandbox.Stage()
	os.Exit(m.Run())
}

// inUse is what this process holds: descriptors, children, temporary files.
type inUse struct{ descriptors, children, files []string }

func hold(t *testing.T) (u inUse) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "/proc/") { // that of ReadDir itself
			u.descriptors = append(u.descriptors, to)
		}
	}
	threads, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(threads) == 0 {
		t.Skip("skipped: the kernel does not list children (CONFIG_PROC_CHILDREN)")
	}
	for _, path := range threads {
		data, _ := os.ReadFile(path) // a thread may have just ended
		u.children = append(u.children, strings.Fields(string(data))...)
	}
	u.files, err = filepath.Glob(filepath.Join(os.TempDir(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// lab is a state folder and a small experiment.
func lab(t testing.TB, edits ...string) (*Lab, *Spec) {
	t.Helper()
	dir := t.TempDir()
	if err := examples.Write("packer", filepath.Join(dir, "p")); err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(dir, "p", "experiment.yaml")
	for i := 0; i < len(edits); i += 3 {
		edit(t, filepath.Join(dir, "p", edits[i]), edits[i+1], edits[i+2])
	}
	s, err := Load(spec, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Search.Islands, s.Search.Population, s.Search.Budget, s.Search.Generations = 2, 12, 0, 2
	s.Search.Migrants, s.Search.Selection.Size, s.Shadows = 1, 2, 6
	s.Train.Count, s.Validate.Count, s.Holdout.Count = 2, 2, 4
	l, err := OpenLab(filepath.Join(dir, "home"), func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	return l, s
}

func edit(t testing.TB, path, old, new string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), old) {
		t.Fatalf("%s does not hold %q (%v)", path, old, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func needScheme(t *testing.T) {
	t.Helper()
	if _, err := sandbox.FindRuntime(t.Context(), "auto"); err != nil {
		t.Skipf("skipped: %v", err)
	}
	if _, err := isolation.Decide(isolation.Policy{Level: isolation.Full}, isolation.Probe()); err != nil {
		t.Skipf("skipped: %v", err)
	}
}

// However a run ends, nothing of it is left: no goroutine, no process, no
// descriptor, no temporary file.
func TestNothingIsLeftOfARun(t *testing.T) {
	needScheme(t)
	score := "(cons (- bins bound) bound)"
	for _, end := range []struct {
		name  string
		edits []string
		run   func(*Lab, *Spec) (*orchestrator.Result, error)
		ended func(*orchestrator.Result, error) bool
	}{
		{"done", nil, plainly, func(r *orchestrator.Result, err error) bool { return err == nil && r.Stop == "generations" }},
		{"budget", nil, func(l *Lab, s *Spec) (*orchestrator.Result, error) {
			s.Search.Generations, s.Search.Budget = 0, time.Millisecond
			return plainly(l, s)
		}, func(r *orchestrator.Result, err error) bool { return err == nil && r.Stop == "budget" }},
		{"cancelled", nil, cancelled, func(r *orchestrator.Result, err error) bool { return err == nil && r.Interrupted }},
		{"cancelled before it began", nil, func(l *Lab, s *Spec) (*orchestrator.Result, error) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return l.Run(ctx, s, Options{})
		}, func(_ *orchestrator.Result, err error) bool { return err != nil }},
		{"by workers", nil, func(l *Lab, s *Spec) (*orchestrator.Result, error) {
			return l.Run(context.Background(), s, Options{Engine: Engine{Where: "nats"}})
		}, func(r *orchestrator.Result, err error) bool { return err == nil && r.Stop == "generations" }},
		{"by workers, cancelled", nil, func(l *Lab, s *Spec) (*orchestrator.Result, error) {
			return cancelledBy(l, s, Engine{Where: "nats"})
		}, func(r *orchestrator.Result, err error) bool { return err == nil && r.Interrupted }},
		{"with a proposer", []string{"experiment.yaml", "shadows: 50", "task: pack\nproposers: {gp: {}, one: {command: [sh, -c, 'sleep 0.01 & echo \"(- 1 item)\"']}}\nshadows: 50"}, plainly,
			func(r *orchestrator.Result, err error) bool { return err == nil && r.Proposers[0].Calls > 0 }},
		{"without isolation", nil, func(l *Lab, s *Spec) (*orchestrator.Result, error) {
			return l.Run(context.Background(), s, Options{Isolation: isolation.None})
		}, func(r *orchestrator.Result, err error) bool { return err == nil && r.Isolation == "none" }},
		{"agent does not load", []string{"agent/agent.scm", "(define bin-capacity 150)", "(define bin-capacity (car 5))"}, plainly,
			func(_ *orchestrator.Result, err error) bool { return errors.As(err, new(*sandbox.LoadError)) }},
		{"referee fails", []string{"agent/fitness.scm", score, `(vector-ref (vector) 3)`}, plainly,
			func(_ *orchestrator.Result, err error) bool { return errors.As(err, new(*orchestrator.RefereeError)) }},
		{"referee kills its process", []string{"agent/fitness.scm", score, "(exit 3)"}, plainly,
			func(_ *orchestrator.Result, err error) bool { return errors.As(err, new(*orchestrator.AgentError)) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			l, s := lab(t, end.edits...)
			l.Close() // SQLite opens its file when it is needed
			before := hold(t)
			here := goleak.IgnoreCurrent()
			l, err := OpenLab(l.Home, l.Say)
			if err != nil {
				t.Fatal(err)
			}
			result, err := end.run(l, s)
			if !end.ended(result, err) {
				t.Errorf("it ended with %+v, %v", result, err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			// The thread that starts processes lives as long as the program.
			goleak.VerifyNone(t, here, goleak.IgnoreAnyFunction("jird/sandbox.init.func1.1"))
			after := hold(t)
			if more := beyond(after.children, before.children); len(more) > 0 {
				t.Errorf("processes are left: %v", more)
			}
			if more := beyond(after.descriptors, before.descriptors); len(more) > 0 {
				t.Errorf("descriptors are left: %v", more)
			}
			if more := beyond(after.files, before.files); len(more) > 0 {
				t.Errorf("files are left: %v", more)
			}
		})
	}
}

func plainly(l *Lab, s *Spec) (*orchestrator.Result, error) {
	return l.Run(context.Background(), s, Options{})
}

// cancelled ends the context after the first whole generation.
func cancelled(l *Lab, s *Spec) (*orchestrator.Result, error) { return cancelledBy(l, s, Engine{}) }

func cancelledBy(l *Lab, s *Spec, e Engine) (*orchestrator.Result, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.Search.Generations = 1000
	return l.Run(ctx, s, Options{Engine: e, Events: func(e orchestrator.Event) {
		if e.Message == "" {
			cancel()
		}
	}})
}

// beyond is what stands in a more often than in b.
func beyond(a, b []string) (more []string) {
	b = slices.Clone(b)
	for _, s := range a {
		if i := slices.Index(b, s); i >= 0 {
			b = slices.Delete(b, i, i+1)
		} else {
			more = append(more, s)
		}
	}
	return more
}

// One process carries a run out; an equal run at the same time is another one.
func TestARunIsLocked(t *testing.T) {
	needScheme(t)
	l, s := lab(t)
	defer l.Close()
	other, err := OpenLab(l.Home, l.Say)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var said []string
	l.Say = func(format string, args ...any) { said = append(said, format) }
	checked := false
	_, err = l.Run(t.Context(), s, Options{Isolation: isolation.None, Events: func(e orchestrator.Event) {
		if checked || e.Message != "" {
			return
		}
		checked = true
		runs, err := other.Runs()
		if err != nil || len(runs) != 1 || runs[0].Status != orchestrator.RunRunning {
			t.Errorf("%+v, %v", runs, err)
			return
		}
		if _, err := other.Resume(t.Context(), runs[0].Run, Options{}); err == nil || !strings.Contains(err.Error(), "under way in another process") {
			t.Errorf("resume: %v", err)
		}
		r := orchestrator.RunRecord{}
		stored, err := other.Ledger.Load(runs[0].Run)
		if err != nil {
			t.Error(err)
			return
		}
		r = stored.Run
		r.Repeat = 0
		unlock, err := other.identify(s, &r)
		if err != nil || r.Repeat != 1 || r.ID == runs[0].Run {
			t.Errorf("repeat %d, %s: %v", r.Repeat, r.ID, err)
		}
		unlock()
	}})
	if err != nil || !checked {
		t.Fatal(err, checked)
	}
}

// A run whose process died without a word is interrupted.
func TestADeadRunIsInterrupted(t *testing.T) {
	l, err := OpenLab(t.TempDir(), func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 3 {
		if err := l.Ledger.Begin(orchestrator.RunRecord{ID: strconv.Itoa(i), Spec: "{}"}); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := l.lockRun("1")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	runs, err := l.Runs()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{orchestrator.RunInterrupted, orchestrator.RunRunning, orchestrator.RunInterrupted} {
		if runs[i].Status != want {
			t.Errorf("run %d is %s, want %s", i, runs[i].Status, want)
		}
	}
	if r, err := l.Report("0"); err != nil || r.Status != orchestrator.RunInterrupted || r.Winner != nil {
		t.Errorf("%+v, %v", r, err)
	}
}
