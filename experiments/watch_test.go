package experiments

import (
	"context"
	"testing"
	"time"

	"jird/orchestrator"
)

// Whoever watches a run sees it go on, and its end.
func TestWatch(t *testing.T) {
	needScheme(t)
	l, s := lab(t)
	other, err := OpenLab(l.Home, l.Say)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s.Search.Generations = 3
	begun, watched := make(chan string, 1), make(chan []orchestrator.Event, 1)
	go func() {
		var seen []orchestrator.Event
		i, err := other.Watch(context.Background(), <-begun, func(e orchestrator.Event) { seen = append(seen, e) })
		if err != nil || i.Status != orchestrator.RunDone || i.Promoted == nil || i.Left != nil {
			t.Errorf("%+v, %v", i, err)
		}
		watched <- seen
	}()
	told := false
	r, err := l.Run(t.Context(), s, Options{Events: func(e orchestrator.Event) {
		if told || e.Message != "" {
			return
		}
		told = true
		i, err := l.Ledger.Run(runs(t, other)[0])
		if err != nil || l.settle(&i) != nil || i.Best == nil || *i.Best != e.Best {
			t.Errorf("%+v beside %+v, %v", i, e, err)
		}
		begun <- i.Run
	}})
	if err != nil {
		t.Fatal(err)
	}
	seen := <-watched
	if len(seen) == 0 || seen[len(seen)-1].Evaluations != r.Evaluations || seen[len(seen)-1].Generation != 3 {
		t.Errorf("%+v", seen)
	}
	if _, err := l.Watch(t.Context(), "no-such", nil); err == nil {
		t.Error("a run that is not there was watched")
	}
}

func runs(t *testing.T, l *Lab) (ids []string) {
	t.Helper()
	all, err := l.Runs()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		ids = append(ids, i.Run)
	}
	return ids
}

// A ceiling on steps ends a search where it was reached, also one that was interrupted
// before.
func TestStepsEndARun(t *testing.T) {
	needScheme(t)
	l, s := lab(t)
	s.Search.Generations, s.Search.Steps = 1000, 1
	first, err := l.Run(t.Context(), s, Options{})
	if err != nil || first.Stop != "steps" || first.Generations != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	report, err := l.Report(first.Run)
	if err != nil {
		t.Fatal(err)
	}
	s.Search.Steps = int(report.Steps) + 1 // one generation more
	whole, err := l.Run(t.Context(), s, Options{})
	if err != nil || whole.Stop != "steps" || whole.Generations == 0 {
		t.Fatalf("%+v, %v", whole, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	part, err := l.Run(ctx, s, Options{Events: func(e orchestrator.Event) {
		if e.Message == "" {
			cancel()
		}
	}})
	if err != nil || !part.Interrupted {
		t.Fatalf("%+v, %v", part, err)
	}
	if done, err := l.Resume(t.Context(), part.Run, Options{}); err != nil || done.Stop != "steps" || done.Evaluations != whole.Evaluations {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestTimeLeft(t *testing.T) {
	e := orchestrator.Event{Generation: 10, Evaluations: 500, Elapsed: 10 * time.Second}
	for want, s := range map[time.Duration]Search{
		40 * time.Second: {Generations: 50},
		20 * time.Second: {Generations: 50, Budget: 30 * time.Second},
		5 * time.Second:  {Generations: 50, Evaluations: 750},
		0:                {Evaluations: 400},
	} {
		if left, ok := s.Left(e); !ok || left != want {
			t.Errorf("%+v: %v, %v; want %v", s, left, ok, want)
		}
	}
	if left, ok := (Search{Stagnation: 5}).Left(e); ok {
		t.Errorf("without a limit that tells there are %v left", left)
	}
	if left, ok := (Search{Generations: 50}).Left(orchestrator.Event{}); ok {
		t.Errorf("before the first generation there are %v left", left)
	}
}
