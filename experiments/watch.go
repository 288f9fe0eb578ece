package experiments

import (
	"context"
	"time"

	"jird/experiments/ledger"
	"jird/orchestrator"
)

// Left is about how long a search has yet to go after an event, by those of its limits
// that can tell, and false where none can. It may end before: without progress, at its
// target, or by its stop file.
func (s Search) Left(e orchestrator.Event) (left time.Duration, ok bool) {
	consider := func(rest time.Duration) {
		if rest = max(rest, 0); !ok || rest < left {
			left, ok = rest, true
		}
	}
	if s.Budget > 0 {
		consider(s.Budget - e.Elapsed)
	}
	if s.Generations > 0 && e.Generation > 0 {
		consider(e.Elapsed / time.Duration(e.Generation) * time.Duration(s.Generations-e.Generation))
	}
	if s.Evaluations > 0 && e.Evaluations > 0 {
		consider(time.Duration(float64(e.Elapsed) / float64(e.Evaluations) * float64(s.Evaluations-e.Evaluations)))
	}
	return left, ok
}

// watchEvery is how often a run of another process is looked at: a person sees no less.
const watchEvery = 250 * time.Millisecond

// Watch calls show with how far a run is, now and whenever that changed, until no process
// carries it out. It returns what is known of it then.
func (l *Lab) Watch(ctx context.Context, run string, show func(orchestrator.Event)) (i ledger.Info, err error) {
	evaluations := 0
	err = watch(ctx, func() (going bool, err error) {
		if i, err = l.Ledger.Run(run); err != nil {
			return false, err
		}
		if err := l.settle(&i); err != nil {
			return false, err
		}
		if i.Evaluations > evaluations {
			evaluations = i.Evaluations
			show(eventOf(i))
		}
		return i.Status == orchestrator.RunRunning, nil
	})
	return i, err
}

// eventOf is how far a run is, as it said itself.
func eventOf(i ledger.Info) orchestrator.Event {
	e := orchestrator.Event{Generation: i.Generations, Evaluations: i.Evaluations, Elapsed: time.Duration(i.Seconds * float64(time.Second))}
	if i.Best != nil {
		e.Best = *i.Best
	}
	return e
}

// WatchTournament is Watch for a tournament; show is that of Tournament.
func (l *Lab) WatchTournament(ctx context.Context, id string, show func(what string, n, of int)) (i ledger.TournamentInfo, err error) {
	p, _, err := l.tournament(id)
	if err != nil {
		return i, err
	}
	generations, rounds := 0, 0
	err = watch(ctx, func() (going bool, err error) {
		if i, err = l.Ledger.Tournament(id); err != nil {
			return false, err
		}
		if err := l.complement(&i, p); err != nil {
			return false, err
		}
		if i.Generations > generations {
			generations = i.Generations
			show("generation", generations, i.GenerationsOf)
		}
		if i.Rounds > rounds {
			rounds = i.Rounds
			show("round", rounds, i.RoundsOf)
		}
		return i.Status == orchestrator.RunRunning, nil
	})
	return i, err
}

func watch(ctx context.Context, look func() (going bool, err error)) error {
	for {
		if going, err := look(); err != nil || !going {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchEvery):
		}
	}
}
