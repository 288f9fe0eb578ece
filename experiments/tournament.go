package experiments

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/population"
	"jird/snapshots"
)

// Tournament plays a new tournament of a spec, and returns how it ended.
func (l *Lab) Tournament(ctx context.Context, s *TournamentSpec, o Options, after func(what string, n, of int)) (*orchestrator.Standings, error) {
	agent, err := l.Agent(&Spec{Name: s.Name, Agent: s.Agent, place: s.place})
	if err != nil {
		return nil, err
	}
	image, err := l.Vault.Get(agent)
	if err != nil {
		return nil, err
	}
	if s, err = l.resolved(s, image); err != nil {
		return nil, err
	}
	p, err := s.Plan()
	if err != nil {
		return nil, err
	}
	if err := l.completeTournament(ctx, &p, s.Runtime, o); err != nil {
		return nil, err
	}
	r := orchestrator.TournamentRecord{Name: s.Name, Agent: string(agent), Evaluator: orchestrator.MatchEvaluator(image), Runtime: p.Sandbox.Runtime.String(), Seed: s.Seed}
	r.Spec, r.SpecHash = s.JSON()
	unlock, err := l.newTournament(&r)
	if err != nil {
		return nil, err
	}
	defer unlock()
	p.Record = r
	if err := l.Ledger.BeginTournament(r, p.Entrants); err != nil {
		return nil, err
	}
	o.news("tournament %s: %d entrants, %d rounds, %d shadows, %d workers, seed %d", r.ID, len(p.Entrants), p.Seeds, p.Shadows, p.Workers, r.Seed)
	return l.play(ctx, p, after)
}

// newTournament gives a tournament the id of the first repeat that nobody has begun.
func (l *Lab) newTournament(r *orchestrator.TournamentRecord) (unlock func(), err error) {
	return l.claim(func(repeat int) string {
		r.Repeat = repeat
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d/%s/%d", r.SpecHash, r.Agent, r.Seed, r.Runtime, r.Repeat))
		r.ID = r.Name + "-t-" + hex.EncodeToString(sum[:6])
		return r.ID
	})
}

func (l *Lab) completeTournament(ctx context.Context, p *orchestrator.TournamentPlan, want string, o Options) error {
	var run orchestrator.Plan
	run.Shadows, run.Sandbox = p.Shadows, p.Sandbox
	if err := l.complete(ctx, &run, want, o); err != nil {
		return err
	}
	p.Shadows, p.Workers, p.Sandbox = run.Shadows, run.Workers, run.Sandbox
	return nil
}

// play plays what is left, and reckons.
func (l *Lab) play(ctx context.Context, p orchestrator.TournamentPlan, after func(what string, n, of int)) (*orchestrator.Standings, error) {
	began := time.Now()
	p, played, err := orchestrator.Tournament(ctx, p, l.Vault, l.Ledger, after)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("interrupted; go on with: jird resume %s (%w)", p.Record.ID, ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	s, err := p.Standings(played)
	if err != nil {
		return nil, err
	}
	if err := l.decideChampion(ctx, p, played, s); err != nil {
		return nil, err
	}
	s.Seconds = time.Since(began).Seconds()
	return s, nil
}

// decideChampion hands the first side's champion or the gauntlet's candidate over, if the
// tournament says so, and puts into the standings what came of it.
func (l *Lab) decideChampion(ctx context.Context, p orchestrator.TournamentPlan, played []orchestrator.PlayedMatch, s *orchestrator.Standings) error {
	if p.Promotion == nil {
		return nil
	}
	if e, err := l.Ledger.Explain(p.Record.ID, 1); err != nil || e.Decided == nil {
		judged := p.Entrants[p.Judged(played)].Code.(*population.Genome) // no other can be promoted
		if err := orchestrator.Gauntlet(ctx, p, l.deps(Options{}), judged); err != nil {
			return err
		}
	}
	return l.addDecision(s)
}

func (l *Lab) addDecision(s *orchestrator.Standings) error {
	e, err := l.Ledger.Explain(s.Run, 1)
	if err != nil {
		return err
	}
	if e.Decided != nil {
		s.Promoted, s.Reason = &e.Decided.Promoted, e.Decided.Reason
	}
	return nil
}

// tournament reads a recorded tournament.
func (l *Lab) tournament(id string) (p orchestrator.TournamentPlan, runtime string, err error) {
	r, err := l.Ledger.LoadTournament(id)
	if err != nil {
		return p, "", err
	}
	var s TournamentSpec
	if err := json.Unmarshal([]byte(r.Spec), &s); err != nil {
		return p, "", fmt.Errorf("reading the recorded tournament: %w", err)
	}
	s.Shadows = defaults().Shadows
	if p, err = s.Plan(); err != nil {
		return p, "", err
	}
	p.Record = *r
	given := len(p.Entrants)
	p.Entrants, err = l.Ledger.Entrants(id, p.Read)
	for i := given; i < len(p.Entrants); i++ {
		p.Entrants[i].Finalist, p.Evolved = true, true
	}
	return p, s.Runtime, err
}

// recorded makes the plan of a recorded tournament again, with the runtime of this machine.
func (l *Lab) recorded(ctx context.Context, id string, o Options) (p orchestrator.TournamentPlan, err error) {
	p, runtime, err := l.tournament(id)
	if err != nil {
		return p, err
	}
	return p, l.completeTournament(ctx, &p, runtime, o)
}

// Standings reckons up what the ledger holds of a tournament.
func (l *Lab) Standings(id string) (*orchestrator.Standings, error) {
	p, played, err := l.playedSoFar(id)
	if err != nil {
		return nil, err
	}
	return l.reckoned(p, played)
}

// playedSoFar reads a tournament that has a whole round, with its matches.
func (l *Lab) playedSoFar(id string) (p orchestrator.TournamentPlan, played []orchestrator.PlayedMatch, err error) {
	if p, _, err = l.tournament(id); err != nil {
		return p, nil, err
	}
	played, rounds, err := l.Ledger.Played(id)
	if err == nil && rounds == 0 {
		err = fmt.Errorf("tournament %s has no whole round yet; go on with: jird resume %s", id, id)
	}
	return p, played, err
}

// reckoned are the standings, with what was decided.
func (l *Lab) reckoned(p orchestrator.TournamentPlan, played []orchestrator.PlayedMatch) (*orchestrator.Standings, error) {
	s, err := p.Standings(played)
	if err == nil && p.Promotion != nil {
		err = l.addDecision(s)
	}
	return s, err
}

// Tournaments lists all tournaments, oldest first. One that is not done, and that no
// process carries out, is interrupted.
func (l *Lab) Tournaments() ([]ledger.TournamentInfo, error) {
	all, err := l.Ledger.Tournaments()
	for k := range all {
		var p orchestrator.TournamentPlan
		if err == nil {
			p, _, err = l.tournament(all[k].Run)
		}
		if err == nil {
			err = l.complement(&all[k], p)
		}
	}
	return all, err
}

// complement adds what the ledger's list does not say of a tournament.
func (l *Lab) complement(i *ledger.TournamentInfo, p orchestrator.TournamentPlan) error {
	if i.RoundsOf = p.Rounds(); p.Evolution != nil {
		i.GenerationsOf = p.Evolution.Search[0].Generations
	}
	if i.Rounds == i.RoundsOf && (p.Promotion == nil || i.Promoted != nil) {
		i.Status = orchestrator.RunDone
		return nil
	}
	i.Status = orchestrator.RunInterrupted
	locked, err := l.locked(i.Run)
	if locked {
		i.Status = orchestrator.RunRunning
	}
	return err
}

// IsTournament tells whether the ledger knows a tournament of that id.
func (l *Lab) IsTournament(id string) bool {
	has, err := l.Ledger.HasTournament(id)
	return err == nil && has
}

// ResumeTournament goes on with a tournament from its last whole round.
func (l *Lab) ResumeTournament(ctx context.Context, id string, o Options, after func(what string, n, of int)) (*orchestrator.Standings, error) {
	unlock, err := l.lockAlone(id, "tournament "+id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	p, err := l.recorded(ctx, id, o)
	if err != nil {
		return nil, err
	}
	if now := p.Sandbox.Runtime.String(); now != p.Record.Runtime {
		return nil, fmt.Errorf("tournament %s was made with %s, here is %s: matches need not end the same; start a new one", id, p.Record.Runtime, now)
	}
	image, err := l.Vault.Get(snapshots.ID(p.Record.Agent))
	if err != nil {
		return nil, err
	}
	if orchestrator.MatchEvaluator(image) != p.Record.Evaluator {
		return nil, fmt.Errorf("tournament %s was begun by a jird whose prelude for Scheme is another: matches need not end the same; go on with that jird, or start a new one", id)
	}
	return l.play(ctx, p, after)
}
