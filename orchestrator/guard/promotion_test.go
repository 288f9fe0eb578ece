package guard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"jird/orchestrator/journal"
	"jird/sandbox"
	"jird/snapshots"
)

func (w *world) promote(g *Guard, to snapshots.ID, kind journal.Kind) journal.Attempt {
	w.t.Helper()
	a, err := g.Promote(w.t.Context(), Promote{To: to, Kind: kind, Reason: "a test"})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) refs(live, previous snapshots.ID) {
	w.t.Helper()
	for name, want := range map[string]snapshots.ID{"a/live": live, "a/previous": previous} {
		if got, err := w.vault.Ref(name); err != nil || got != want {
			w.t.Errorf("%s is %.12s, want %.12s (%v)", name, got, want, err)
		}
	}
}

// slowStore has checkpoints wait.
type slowStore struct {
	*disk
	begun, proceed chan struct{}
}

func (s slowStore) PutCheckpoint(c Saved) (uint64, error) {
	select {
	case s.begun <- struct{}{}:
		<-s.proceed
	case <-s.proceed:
	}
	return s.disk.PutCheckpoint(c)
}

// A promotion begins with a checkpoint; a guard that is closed before that is
// written ends in order, and nothing came of the promotion.
func TestClosedAsAPromotionBegins(t *testing.T) {
	w := newWorld(t)
	store := slowStore{w.disk, make(chan struct{}), make(chan struct{})}
	w.cfg.Store = store
	g := w.open()
	one, two := g.version, w.version("two")
	var ended journal.Attempt
	var err error
	promoted := make(chan struct{})
	go func() {
		defer close(promoted)
		ended, err = g.Promote(context.Background(), Promote{To: two, Kind: journal.Forced, Reason: "a test"})
	}()
	<-store.begun
	go g.Close()
	<-promoted
	close(store.proceed)
	if closed := g.Close(); closed != nil || err != nil || ended.Live() || !ended.Ended {
		t.Errorf("%v, %+v, %v", closed, ended, err)
	}
	if live := mustRef(t, w.vault); live != one {
		t.Errorf("%.12s is live, want %.12s", live, one)
	}
	g = w.open()
	w.want(w.call(g, "(version)"), "one")
}

func TestPromoteAndRollBack(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	one, two := g.version, w.version("two")
	w.want(w.call(g, "(add 5)"), "5")
	if a := w.promote(g, two, journal.Forced); !a.Live() {
		t.Fatalf("%+v", a)
	}
	w.want(w.call(g, "(version)"), "two")
	w.want(w.call(g, "(add 2)"), "7")
	w.refs(two, one)
	if g.Status(); g.warmID != one {
		t.Error("the incumbent is not kept warm")
	}
	if _, err := g.Promote(t.Context(), Promote{To: two, Kind: journal.Forced}); err == nil {
		t.Error("what is live was promoted")
	}
	w.crash(g)
	g = w.open()
	w.want(w.call(g, "(version)"), "two")
	a, err := g.Rollback(t.Context(), "", "a test")
	if err != nil || !a.Live() {
		t.Fatalf("%+v, %v", a, err)
	}
	w.want(w.call(g, "(version)"), "one")
	w.want(w.call(g, "(get)"), "7")
	w.refs(one, two)
	if _, err := g.Rollback(t.Context(), "", "again"); err == nil {
		t.Error("there was something before the first version")
	}
}

func (w *world) steps(all ...Step) { w.cfg.Canary.Steps = all }

// traffic calls until the promotion has ended.
func (w *world) traffic(g *Guard, to snapshots.ID, request func(i int) (src, sticky string)) (a journal.Attempt, answers []string) {
	w.t.Helper()
	ended := make(chan journal.Attempt, 1)
	go func() {
		a, err := g.Promote(context.Background(), Promote{To: to, Kind: journal.Promotion, Reason: "a test"})
		if err != nil {
			a.Why = err.Error()
		}
		ended <- a
	}()
	for i := 0; ; i++ {
		select {
		case a := <-ended:
			return a, answers
		default:
		}
		src, sticky := request(i)
		answers = append(answers, show(g.Call(context.Background(), Request{Datum: datum(w.t, src), Sticky: sticky})))
	}
}

func counts(answers []string) map[string]int {
	m := map[string]int{}
	for _, a := range answers {
		m[a]++
	}
	return m
}

func TestCanaryPromotes(t *testing.T) {
	w := newWorld(t)
	w.steps(Step{0, 10, time.Minute}, Step{30, 10, time.Minute}, Step{100, 10, time.Minute})
	g := w.open()
	a, answers := w.traffic(g, w.version("two"), func(i int) (string, string) { return "(version)", fmt.Sprint(i % 50) })
	if !a.Live() || strings.Join(a.Steps, ",") != "mirror,split 30,split 100" {
		t.Fatalf("%+v", a)
	}
	n := counts(answers)
	if n["one"] == 0 || n["two"] == 0 || len(n) != 2 {
		t.Errorf("%v", n)
	}
	w.want(w.call(g, "(version)"), "two")
}

// The same caller meets the same version throughout a step.
func TestSplitIsSticky(t *testing.T) {
	w := newWorld(t)
	w.steps(Step{50, 200, time.Minute})
	g := w.open()
	met := map[string]map[string]bool{}
	var last string
	_, answers := w.traffic(g, w.version("two"), func(i int) (string, string) {
		last = fmt.Sprint(i % 20)
		return "(version)", last
	})
	for i, a := range answers[:len(answers)-1] {
		caller := fmt.Sprint(i % 20)
		if met[caller] == nil {
			met[caller] = map[string]bool{}
		}
		met[caller][a] = true
	}
	both := 0
	for _, versions := range met {
		if len(versions) > 1 {
			both++ // before the step began, all met the incumbent
		}
	}
	if both == 0 || both == 20 {
		t.Errorf("%d of 20 callers met the candidate", both)
	}
}

// Calls that do not say whose they are go to the candidate in the step's share, not
// all or none.
func TestSplitOfCallersWithoutName(t *testing.T) {
	w := newWorld(t)
	w.steps(Step{20, 40, time.Minute})
	g := w.open()
	_, answers := w.traffic(g, w.version("two"), func(int) (string, string) { return "(version)", "" })
	met := 0
	for _, a := range answers {
		if a == "two" {
			met++
		}
	}
	if len(answers) < 100 || met < 30 {
		t.Errorf("%d of %d calls met the candidate, which was to get 40 calls, a fifth of all", met, len(answers))
	}
}

func TestCanaryVetoes(t *testing.T) {
	broken := func(old, new string) string { return strings.Replace(code("two"), old, new, 1) }
	for name, c := range map[string]struct {
		source, why string
		steps       []Step
	}{
		"does not load":       {"(car 5)", "does not start", nil},
		"raises":              {broken("(memory-ref 'count 0))", "(car 5))"), "raised an exception", []Step{{0, 5, time.Minute}}},
		"raises in the split": {broken("((get) (memory-ref 'count 0))", "((get) (car 5))"), "exception in", []Step{{50, 30, time.Minute}}},
		"dies":                {broken("((get) (memory-ref 'count 0))", "((get) (exit 3))"), "process died", []Step{{50, 30, time.Minute}}},
		"dies in the mirror":  {broken("((get) (memory-ref 'count 0))", "((get) (exit 3))"), "ended the candidate's process", []Step{{0, 30, time.Minute}}},
		"invariant":           {code("two") + "(define (agent-invariant) (< (memory-ref 'count 0) 0))", "invariant does not hold", []Step{{0, 5, time.Minute}}},
		"invariant raises":    {code("two") + "(define (agent-invariant) (car 5))", "invariant does not hold", []Step{{50, 5, time.Minute}}},
		"slow":                {broken("  (case (car request)", "  (let loop ((i 0)) (if (< i 10000000) (loop (+ i 1))))\n  (case (car request)"), "median call took", []Step{{50, 30, time.Minute}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.steps(c.steps...)
			if c.steps == nil {
				w.steps(DefaultSteps...)
			}
			g := w.open()
			one := g.version
			a, answers := w.traffic(g, w.put(c.source), func(i int) (string, string) {
				return []string{"(add 1)", "(get)"}[i%2], fmt.Sprint(i % 50)
			})
			if a.Live() || !strings.Contains(a.Why, c.why) {
				t.Fatalf("%+v", a)
			}
			if live, err := w.vault.Ref("a/live"); err != nil || live != one {
				t.Errorf("live is %.12s (%v)", live, err)
			}
			if name != "raises in the split" {
				for _, a := range answers {
					if strings.Contains(a, "error") || strings.Contains(a, "raised") {
						t.Fatalf("a caller got %s", a)
					}
				}
			}
			adds := (len(answers) + 1) / 2
			w.want(w.call(g, "(get)"), fmt.Sprint(adds))
		})
	}
}

// Canary state that is apart: seen by its caller alone, dropped or folded.
func TestDiscardedState(t *testing.T) {
	for _, accept := range []bool{true, false} {
		t.Run(fmt.Sprint("accept ", accept), func(t *testing.T) {
			w := newWorld(t)
			w.steps(Step{100, 1 << 30, time.Hour})
			w.cfg.Canary.Discard = true
			g := w.open()
			two := w.version("two")
			ended := make(chan journal.Attempt, 1)
			go func() {
				a, _ := g.Promote(context.Background(), Promote{To: two, Kind: journal.Promotion})
				ended <- a
			}()
			sticky := func(caller, src string) string {
				return show(g.Call(t.Context(), Request{Datum: datum(t, src), Sticky: caller}))
			}
			for sticky("x", "(version)") != "two" {
				time.Sleep(5 * time.Millisecond)
			}
			w.want(sticky("x", "(put mine 1)"), "ok")
			w.want(sticky("x", "(key mine)"), "1")
			w.want(sticky("y", "(key mine)"), "#f")
			w.want(sticky("x", "(put mine 2)"), "ok")
			w.want(sticky("y", "(put yours 3)"), "ok")
			if accept {
				g.post(g.accept)
			} else {
				g.post(func() { g.reject("a test") })
			}
			<-ended
			mine, yours, version := "#f", "#f", "one"
			if accept {
				mine, yours, version = "2", "3", "two"
			}
			w.want(w.call(g, "(version)"), version)
			w.want(w.call(g, "(key mine)"), mine)
			w.want(w.call(g, "(key yours)"), yours)
			w.crash(g)
			g = w.open()
			w.want(w.call(g, "(key mine)"), mine)
		})
	}
}

func TestConflictingStatesVeto(t *testing.T) {
	w := newWorld(t)
	w.steps(Step{100, 1 << 30, time.Hour})
	w.cfg.Canary.Discard = true
	g := w.open()
	a, _ := w.traffic(g, w.version("two"), func(i int) (string, string) { return "(put same 1)", fmt.Sprint(i % 2) })
	if a.Live() || !strings.Contains(a.Why, "two callers wrote same") {
		t.Errorf("%+v", a)
	}
}

// Bad code that was forced in: the agent dies, is back with its memory, and is
// rolled back, and the caller gets the incumbent's answer.
// A machine that cannot start a process for a moment is no reason to go back.
func TestStartIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	two := w.version("two")
	if _, err := g.Promote(t.Context(), Promote{To: two, Kind: journal.Forced, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	code, failed := w.cfg.Code, false
	w.cfg.Code = func(id snapshots.ID) (sandbox.Image, error) {
		if !failed {
			failed = true
			return sandbox.Image{}, errors.New("no memory just now")
		}
		return code(id)
	}
	w.want(w.call(w.open(), "(version)"), "two")
	if !failed || !strings.Contains(w.spoken(), "starting it anew") {
		t.Errorf("it says\n%s", w.spoken())
	}
}

func TestForcedCodeThatDiesIsRolledBack(t *testing.T) {
	for name, get := range map[string]string{"exits": "(exit 3)", "recurses": "(let f ((n 0)) (+ 1 (f (+ n 1))))"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.open()
			one := g.version
			w.want(w.call(g, "(add 5)"), "5")
			bad := w.put(strings.Replace(code("two"), "((get) (memory-ref 'count 0))", "((get) "+get+")", 1))
			if a := w.promote(g, bad, journal.Forced); !a.Live() {
				t.Fatalf("%+v", a)
			}
			w.want(w.call(g, "(get)"), "5")
			w.want(w.call(g, "(version)"), "one")
			w.refs(one, bad)
			if n := g.counts.rollbacks.Load(); n != 1 {
				t.Errorf("%d rollbacks", n)
			}
			if s := g.state.Totals; s.Attempts != 1 || s.Held != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
