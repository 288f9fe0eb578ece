package orchestrator

import (
	"context"
	"fmt"
	"slices"

	"jird/orchestrator/propose"
	"jird/population"
	"jird/population/ga"
	"jird/snapshots/sexpr"
)

// openProposers prepares whom the search asks, who go on from what they had used.
func (r *run) openProposers(train *Bench, from *Stored) (err error) {
	if len(r.Asking.Proposers) == 0 {
		return nil
	}
	task := propose.Task{
		Text: r.Asking.Task, File: r.Evolved, Grammar: r.Search.Grammar,
		Names: r.agent.names(), Cases: train.Cases(),
	}
	if r.asked, err = propose.New(task, r.Asking.Proposers, r.Asking.Ceilings, exchanges{r.Recorder, r.Record.ID}, r.say); err != nil {
		return err
	}
	if from != nil {
		return r.asked.Restore(from.Spent)
	}
	return nil
}

// asker asks the proposers of a run.
type asker struct {
	*propose.Proposers
	run string
}

// Propose implements ga.Proposer.
func (a asker) Propose(ctx context.Context, r ga.Round) ([]*population.Genome, error) {
	genomes, err := a.Proposers.Propose(ctx, r)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w; then go on with: jird resume %s", err, a.run)
	}
	return genomes, err
}

// spent is what the proposers have used so far.
func (r *run) spent() []propose.Usage {
	if r.asked == nil {
		return nil
	}
	return r.asked.Spent()
}

// exchanges is the recorder of one run as a store of exchanges.
type exchanges struct {
	Recorder
	run string
}

// Exchange implements propose.Store.
func (e exchanges) Exchange(hash string) (*propose.Exchange, error) {
	return e.Recorder.Exchange(e.run, hash)
}

// Record implements propose.Store.
func (e exchanges) Record(x propose.Exchange) error { return e.Exchanged(e.run, x) }

// names are what the rest of the agent defines at top level, sorted: a genome that defined
// it too would take its place, or lose its own.
func (a *Agent) names() []string {
	names := []string{}
	for _, f := range a.Image.Files {
		if f.Path == a.Evolved || f.Path == refereeFile || f.Path == matchFile {
			continue
		}
		forms, err := sexpr.ReadAll(f.Data)
		if err != nil {
			continue // not of the subset that can be read here
		}
		for _, form := range forms {
			if name := population.Defined(form); name != "" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
