package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"jird/orchestrator/promote"
	"jird/population"
	"jird/snapshots"
)

// Promotion says whether and how a tournament's champion may become live.
type Promotion struct {
	Evolved string  // path of the file that holds the champion's definitions
	Cases   int     // most pairs of matches that the decision may look at
	Alpha   float64 // as in promote.Plan, with the next two
	Effect  float64
	Power   float64
}

// Gauntlet has the champion of a tournament's first side stand against the live policy,
// on held-out entrants, which neither has met in the tournament, with seeds that belong
// to this one decision, and promotes it if it is better. In a gauntlet it is the candidate
// instead, on the whole archive: nobody was chosen by what the archive's matches said. A
// side's score in a match is what it missed of the best, so that lower is better.
func Gauntlet(ctx context.Context, p TournamentPlan, d Deps, champion *population.Genome) error {
	image, err := d.Vault.Get(snapshots.ID(p.Record.Agent))
	if err != nil {
		return err
	}
	agent, err := readPolicy(image, p.Grammars[0], p.Promotion.Evolved)
	if err != nil {
		return err
	}
	decision := &Decision{
		Run: p.Record.ID, Number: firstDecision, Incumbent: agent.Incumbent.Source(), Winner: champion.Source(),
		IncumbentImage: p.Record.Agent, WinnerImage: p.Record.Agent, Evaluator: p.Record.Evaluator,
		Plan:       promote.NewPlan(p.Promotion.Alpha, p.Promotion.Effect, p.Promotion.Power, p.Promotion.Cases, p.seed(decisionRound)>>2),
		Guardrails: []promote.Guardrail{promote.Failures()},
	}
	if champion.Hash() != agent.Incumbent.Hash() {
		id, err := d.Vault.Put(agent.With(champion, snapshots.ID(p.Record.Agent)))
		if err != nil {
			return err
		}
		decision.WinnerImage = string(id)
	}
	if err := d.Recorder.Declare(*decision); err != nil {
		return err
	}
	court, err := p.open(ctx, d.Vault)
	if err != nil {
		return err
	}
	defer court.Close()
	if err := decision.compare(p.inMatches(ctx, court, agent.Incumbent, champion)); err != nil {
		return err
	}
	if decision.Stop == promote.Better {
		if err := p.holds(d, decision.WinnerImage, champion); err != nil {
			return err
		}
		reason := fmt.Sprintf("decision %d of tournament %s: %s", decision.Number, decision.Run, decision.Reason)
		if err := d.handOver(ctx, decision, image.Name, reason); err != nil {
			return err
		}
	}
	return d.Recorder.Decide(*decision)
}

// decisionRound is a round that no tournament plays.
const decisionRound = -2

// inMatches gives a way to observe two policies in some more matches, against the
// held-out entrants, or a gauntlet's archive, in turn.
func (p TournamentPlan) inMatches(ctx context.Context, court Court, incumbent, champion *population.Genome) func(from, to int) ([]promote.Observation, error) {
	sides := []Code{incumbent, champion}
	var names []string
	for _, e := range p.Entrants {
		if (e.HeldOut || p.Gauntlet) && (len(p.Grammars) == 1 || e.Side == 1) {
			names = append(names, e.Name)
			sides = append(sides, e.Code)
		}
	}
	return func(from, to int) (more []promote.Observation, err error) {
		var matches []Match
		for i := from; i < to; i++ {
			opponent, seed := 2+i%len(names), p.seed(decisionRound-1-i)
			matches = append(matches, Match{0, opponent, seed}, Match{1, opponent, seed})
		}
		results, err := court.Play(ctx, sides, matches, false)
		if err != nil {
			return nil, err
		}
		for i := from; i < to; i++ {
			at := 2 * (i - from)
			more = append(more, promote.Observation{
				Case: fmt.Sprintf("%s-%d", names[i%len(names)], i/len(names)), Incumbent: p.missed(results[at]), Winner: p.missed(results[at+1]),
			})
		}
		return more, nil
	}
}

// missed is what blue missed of the best.
func (p TournamentPlan) missed(r MatchResult) population.Outcome {
	if r.Verdict == Forfeit && r.Blue < r.Red {
		status := population.Type // an illegal move
		if strings.HasSuffix(r.Detail, outOfSteps) {
			status = population.Fuel
		}
		return population.Outcome{Status: status, Detail: r.Detail}
	}
	return population.Outcome{Status: population.OK, Steps: r.BlueSteps, Scores: []population.Score{{Num: p.missing(r), Den: 1}}}
}

// holds says whether an image, read back, holds just the policy that was measured.
func (p TournamentPlan) holds(d Deps, id string, policy *population.Genome) error {
	image, err := d.Vault.Get(snapshots.ID(id))
	if err != nil {
		return err
	}
	agent, err := readPolicy(image, p.Grammars[0], p.Promotion.Evolved)
	if err == nil && agent.Incumbent.Hash() != policy.Hash() {
		err = errors.New("the champion's image does not hold the champion")
	}
	return err
}
