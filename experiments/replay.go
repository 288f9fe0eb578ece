package experiments

import (
	"context"
	"fmt"
	"slices"

	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/population"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// ReplayedMatch is one match played again; Notes are what the referee noted, as text, and
// Causes why it may have ended otherwise.
type ReplayedMatch struct {
	Tournament string                   `json:"tournament"`
	Number     int                      `json:"match"`
	Blue       string                   `json:"blue"`
	Red        string                   `json:"red"`
	Recorded   orchestrator.MatchResult `json:"recorded"`
	Again      orchestrator.MatchResult `json:"again"`
	Same       bool                     `json:"same"`
	Causes     []string                 `json:"causes"`
	Notes      []string                 `json:"notes"`
}

// ReplayMatch plays a recorded match again, move by move, and compares.
func (l *Lab) ReplayMatch(ctx context.Context, id string, number int, o Options) (*ReplayedMatch, error) {
	p, err := l.recorded(ctx, id, o)
	if err != nil {
		return nil, err
	}
	played, _, err := l.Ledger.Played(id)
	if err != nil {
		return nil, err
	}
	if number < 0 || number >= len(played) {
		return nil, fmt.Errorf("tournament %s has matches 0 to %d, not %d", id, len(played)-1, number)
	}
	play := func() (orchestrator.MatchResult, error) {
		results, err := orchestrator.Replay(ctx, p, l.Vault, []orchestrator.Match{played[number].Match})
		if err != nil {
			return orchestrator.MatchResult{}, err
		}
		return results[0], nil
	}
	again, err := play()
	if err != nil {
		return nil, err
	}
	m := played[number]
	r := &ReplayedMatch{
		Tournament: id, Number: number, Blue: p.Entrants[m.Blue].Name, Red: p.Entrants[m.Red].Name,
		Recorded: m.Result, Again: again, Same: m.Result.Equal(again), Causes: []string{}, Notes: []string{},
	}
	for _, note := range again.Notes {
		text, err := sexpr.Canonical(note)
		if err != nil {
			return nil, err
		}
		r.Notes = append(r.Notes, string(text))
	}
	if r.Same {
		return r, nil
	}
	image, err := l.Vault.Get(snapshots.ID(p.Record.Agent))
	if err != nil {
		return nil, err
	}
	origin, err := l.Ledger.TournamentOrigin(id)
	if err != nil {
		return nil, err
	}
	third, err := play()
	r.Causes = l.causes(origin, "", here{p.Sandbox.Runtime.String(), orchestrator.MatchEvaluator(image), o.Isolation}, !third.Equal(again))
	return r, err
}

// ReplayedGenome is one genome of a run measured again on all cases that the run measured
// it on, and Causes why it may have scored otherwise.
type ReplayedGenome struct {
	Run    string        `json:"run"`
	Genome string        `json:"genome"` // hash
	Expr   string        `json:"expr"`
	Sets   []ReplayedSet `json:"sets"`
	Same   bool          `json:"same"`
	Causes []string      `json:"causes"`
}

// ReplayedSet is one set of cases: "train", "validate", "simplify" (the validation cases,
// for the shortened winner) or "holdout".
type ReplayedSet struct {
	Set       string         `json:"set"`
	Count     int            `json:"cases"`
	Recorded  ReplayedResult `json:"recorded"`
	Again     ReplayedResult `json:"again"`
	Same      bool           `json:"same"`
	Differing []ReplayedCase `json:"differing"` // the cases that do
}

// ReplayedResult is how all cases of a set came out: with the first status that is not ok.
type ReplayedResult struct {
	Status population.Status `json:"status"`
	Detail string            `json:"detail"`
	Score  *float64          `json:"score"` // null unless the status is ok
	Steps  int64             `json:"steps"`
}

// ReplayedCase is one case, whose scores are null where it was not scored.
type ReplayedCase struct {
	Case     string   `json:"case"`
	Recorded *float64 `json:"recorded"`
	Again    *float64 `json:"again"`
}

// ReplayGenome measures a genome of a recorded run again: by its hash's first digits, or
// the "winner" or "incumbent" of the run's decision. What differs is no error.
func (l *Lab) ReplayGenome(ctx context.Context, run, genome string, o Options) (*ReplayedGenome, error) {
	stored, err := l.Ledger.Load(run)
	if err != nil {
		return nil, err
	}
	p, err := l.planHere(ctx, stored, o)
	if err != nil {
		return nil, err
	}
	decision, err := l.Ledger.Decision(run)
	if err != nil {
		return nil, err
	}
	if genome, err = hashOf(p.Search.Grammar, decision, genome); err != nil {
		return nil, fmt.Errorf("run %s: %w", run, err)
	}
	recorded, err := l.Ledger.Recorded(run, genome)
	if err != nil {
		return nil, err
	}
	g, err := p.Search.Grammar.Parse([]byte(recorded.Source))
	if err != nil {
		return nil, err
	}
	again, err := orchestrator.NewAgain(p, l.Vault)
	if err != nil {
		return nil, err
	}
	r := &ReplayedGenome{Run: run, Genome: recorded.Hash, Expr: g.Expr(), Same: true, Causes: []string{}}
	steady := true
	for _, set := range setsOf(recorded, decision) {
		first, err := set.measure(ctx, again, g)
		if err != nil {
			return nil, err
		}
		found := set.compare(first)
		if r.Sets = append(r.Sets, found); found.Same {
			continue
		}
		r.Same = false
		second, err := set.measure(ctx, again, g)
		if err != nil {
			return nil, err
		}
		set.outcomes = first
		steady = steady && set.compare(second).Same
	}
	if !r.Same {
		origin, isolated, err := l.Ledger.Origin(run)
		if err != nil {
			return nil, err
		}
		r.Causes = l.causes(origin, isolated, here{p.Sandbox.Runtime.String(), again.Evaluator(), o.Isolation}, !steady)
	}
	return r, nil
}

// hashOf is what a decision calls the winner or the incumbent; anything else is a hash.
func hashOf(grammar *population.Grammar, decision *ledger.Explanation, genome string) (string, error) {
	if genome != "winner" && genome != "incumbent" {
		if !prefixPattern.MatchString(genome) {
			return "", fmt.Errorf("%q is no genome: winner, incumbent, or at least 6 hexadecimal digits of a hash (%w)", genome, ledger.ErrNoGenome)
		}
		return genome, nil
	}
	if decision == nil {
		return "", fmt.Errorf("it has no %s yet: nothing was decided (%w)", genome, ledger.ErrNoGenome)
	}
	source := decision.Declared.Winner
	if genome == "incumbent" {
		source = decision.Declared.Incumbent
	}
	g, err := grammar.Parse([]byte(source))
	if err != nil {
		return "", err
	}
	return g.Hash(), nil
}

// measuredSet is what was measured of a genome on some cases: all together, with one
// outcome, or each of those named alone.
type measuredSet struct {
	name     string
	cases    []string // nil: all together, and measured as one of among genomes
	among    int
	outcomes []population.Outcome
}

func setsOf(r *ledger.Recorded, decision *ledger.Explanation) (all []measuredSet) {
	for _, name := range []string{"train", "validate", "simplify"} {
		if o, ok := r.Outcomes[name]; ok {
			all = append(all, measuredSet{name: name, among: r.Among[name], outcomes: []population.Outcome{o}})
		}
	}
	if decision == nil || decision.Decided == nil {
		return all
	}
	sides := map[string]func(ledger.Compared) ledger.Measured{
		decision.Declared.Incumbent: func(c ledger.Compared) ledger.Measured { return c.Incumbent },
		decision.Declared.Winner:    func(c ledger.Compared) ledger.Measured { return c.Winner },
	}
	side := sides[r.Source]
	if side == nil {
		return all
	}
	holdout := measuredSet{name: "holdout"}
	for _, c := range decision.Decided.Cases {
		holdout.cases = append(holdout.cases, c.Case)
		holdout.outcomes = append(holdout.outcomes, side(c).Outcome())
	}
	return append(all, holdout)
}

// measure measures what the set holds again. The names of cases that were measured all
// together are learnt by it.
func (s *measuredSet) measure(ctx context.Context, again *orchestrator.Again, g *population.Genome) (all []population.Outcome, err error) {
	if s.name == "holdout" {
		return again.Decide(ctx, s.cases, g)
	}
	purpose := s.name
	if purpose == "simplify" {
		purpose = "validate"
	}
	var o population.Outcome
	s.cases, o, err = again.Measure(ctx, purpose, s.among, g)
	return []population.Outcome{o}, err
}

// compare holds a set against what it came to again.
func (s *measuredSet) compare(again []population.Outcome) ReplayedSet {
	r := ReplayedSet{Set: s.name, Count: len(s.cases), Recorded: resultOf(s.outcomes), Again: resultOf(again), Differing: []ReplayedCase{}}
	r.Same = slices.EqualFunc(s.outcomes, again, func(a, b population.Outcome) bool {
		return a.Status == b.Status && a.Steps == b.Steps && slices.Equal(a.Scores, b.Scores)
	})
	was, is := scoresOf(s.outcomes), scoresOf(again)
	for i, name := range s.cases {
		if i < max(len(was), len(is)) {
			if a, b := valueAt(was, i), valueAt(is, i); (a == nil) != (b == nil) || a != nil && *a != *b {
				r.Differing = append(r.Differing, ReplayedCase{name, a, b})
			}
		}
	}
	return r
}

// scoresOf are the scores by case, nil where one failed; none at all where one outcome for
// all cases is a failure.
func scoresOf(outcomes []population.Outcome) (all []*population.Score) {
	for _, o := range outcomes {
		for i := range o.Scores {
			all = append(all, &o.Scores[i])
		}
		if len(o.Scores) == 0 {
			all = append(all, nil)
		}
	}
	return all
}

func valueAt(scores []*population.Score, i int) *float64 {
	if i >= len(scores) || scores[i] == nil {
		return nil
	}
	v := scores[i].Value()
	return &v
}

func resultOf(outcomes []population.Outcome) ReplayedResult {
	r := ReplayedResult{Status: population.OK}
	var scores []population.Score
	for _, o := range outcomes {
		r.Steps += o.Steps
		scores = append(scores, o.Scores...)
		if o.Status != population.OK && r.Status == population.OK {
			r.Status, r.Detail = o.Status, o.Detail
		}
	}
	if r.Status == population.OK {
		mean := population.Mean(scores)
		r.Score = &mean
	}
	return r
}

// here is what a replay was measured with.
type here struct {
	runtime, evaluator string
	isolation          isolation.Level
}

// causes are the reasons for which what was measured here need not be what was recorded.
func (l *Lab) causes(o ledger.Origin, isolated string, now here, unsteady bool) (all []string) {
	if unsteady {
		all = append(all, "measured twice here it came out in two ways: it depends on something other than its input, such as the time, the machine's load or a failure that a limit decides")
	}
	if o.Runtime != now.runtime {
		all = append(all, fmt.Sprintf("it was recorded with %s, here is %s", o.Runtime, now.runtime))
	}
	if o.Evaluator != now.evaluator {
		all = append(all, fmt.Sprintf("the evaluator (the referee and jird's prelude for Scheme) was %.12s, here it is %.12s: it was made by jird %s, this is %s", o.Evaluator, now.evaluator, known(o.Jird), known(l.Ledger.Jird)))
	}
	if isolated != "" && isolated != string(now.isolation) {
		all = append(all, fmt.Sprintf("it was recorded with isolation %s, here is %s", isolated, now.isolation))
	}
	if len(all) == 0 {
		all = append(all, "runtime, evaluator, cases and isolation are those of the record, and it comes out here the same each time: the referee knows something of the machine, or the record is not what was measured (see `jird ledger check`)")
	}
	return all
}

func known(version string) string {
	if version == "" {
		return "of an unknown version"
	}
	return version
}
