package experiments

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"jird/experiments/contrast"
	"jird/orchestrator"
	"jird/population"
	"jird/snapshots"
)

// Comparison is what some runs tell about the ways to search in which they differ.
type Comparison struct {
	Answer    string    `json:"answer"`   // in one sentence
	Question  string    `json:"question"` // of the spec; empty if it has none
	Cases     int       `json:"cases"`    // that no run has seen, the same for all winners
	Seed      uint64    `json:"seed"`     // of the cases: derived from the runs that are compared
	Incumbent float64   `json:"incumbent"`
	Groups    []Group   `json:"groups"`
	Contrasts []Between `json:"contrasts"`
}

// Group is the runs that differ in their seed alone. Scores are of their winners on the
// comparison's cases, by run; lower is better.
type Group struct {
	Name        string    `json:"name"`
	Runs        []string  `json:"runs"`
	Seeds       []uint64  `json:"seeds"`
	Evaluations []int     `json:"evaluations"`
	Scores      []float64 `json:"scores"`
	Mean        float64   `json:"mean"`

	hash    string
	winners []*population.Genome
}

// Between is the contrast of two groups, or of one and the incumbent.
type Between struct {
	First  string `json:"first"`
	Second string `json:"second"`
	contrast.Contrast
}

// incumbentName stands for the incumbent in a contrast.
const incumbentName = "incumbent"

// Compare scores the winners of runs that are done on count cases that no run has seen
// (0: as many as the spec holds out), and contrasts the groups. The runs must be judged
// alike: by one referee, under one runtime, on cases of one recipe.
func (l *Lab) Compare(ctx context.Context, runs []string, count int, o Options) (*Comparison, error) {
	var all []*doneRun
	for _, id := range runs {
		r, err := l.done(id)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	first := all[0]
	if count == 0 {
		count = first.spec.Holdout.Count
	}
	c := &Comparison{Question: first.spec.Question, Cases: count, Seed: judging(runs)}
	grammar, err := first.spec.population()
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if err := l.enroll(c, r, first, grammar); err != nil {
			return nil, err
		}
	}
	if err := l.judge(ctx, c, first.Stored, o); err != nil {
		return nil, err
	}
	c.contrasts()
	return c, nil
}

// doneRun is a run that has been decided, with its spec.
type doneRun struct {
	*orchestrator.Stored
	spec *Spec
}

func (l *Lab) done(id string) (*doneRun, error) {
	stored, err := l.Ledger.Load(id)
	if err != nil {
		return nil, err
	}
	if stored.Status != orchestrator.RunDone {
		return nil, fmt.Errorf("run %s is %s, and only runs that are done can be compared; go on with: jird resume %s", id, stored.Status, id)
	}
	s, err := FromJSON(stored.Run.Spec)
	return &doneRun{stored, s}, err
}

// judging derives the seed of the cases from the runs, so that it is no run's own, and the
// same runs are always judged alike.
func judging(runs []string) uint64 {
	sorted := slices.Clone(runs)
	slices.Sort(sorted)
	sum := sha256.Sum256([]byte("compare/" + strings.Join(sorted, "/")))
	return binary.BigEndian.Uint64(sum[:8]) >> 2
}

// enroll puts a run into its group.
func (l *Lab) enroll(c *Comparison, r, first *doneRun, grammar *population.Grammar) error {
	id := r.Run.ID
	for _, rule := range []struct{ what, is, was string }{
		{"referee", r.Run.Evaluator, first.Run.Evaluator}, {"runtime", r.Run.Runtime, first.Run.Runtime},
		{"recipe of held-out cases", r.spec.Holdout.Recipe, first.spec.Holdout.Recipe},
	} {
		if rule.is != rule.was {
			return fmt.Errorf("run %s has another %s than run %s, so their scores mean different things; compare runs that are judged alike", id, rule.what, first.Run.ID)
		}
	}
	e, err := l.Ledger.Explain(id, 1)
	if err != nil {
		return err
	}
	winner, err := grammar.Parse([]byte(e.Declared.Winner))
	if err != nil {
		return fmt.Errorf("the winner of run %s is of other definitions than that of run %s: %w", id, first.Run.ID, err)
	}
	g := c.group(r.spec)
	if slices.Contains(g.Runs, id) {
		return fmt.Errorf("run %s is named twice; name each once", id)
	}
	g.Runs, g.Seeds, g.winners = append(g.Runs, id), append(g.Seeds, r.Run.Seed), append(g.winners, winner)
	g.Evaluations = append(g.Evaluations, r.Last.Evaluations)
	return nil
}

// group finds the group of a spec, or makes it. Groups are told apart by all that the
// runs of a spec do not differ in: not by seed and length.
func (c *Comparison) group(s *Spec) *Group {
	same := *s
	same.Seed, same.Search.Evaluations, same.Search.Steps, same.Search.Generations, same.Search.Budget = 0, 0, 0, 0, 0
	_, hash := same.JSON()
	for i := range c.Groups {
		if c.Groups[i].hash == hash {
			return &c.Groups[i]
		}
	}
	name := wayOf(cmp.Or(s.Variant, s.Name), s.Search.Control)
	if slices.ContainsFunc(c.Groups, func(g Group) bool { return g.Name == name }) {
		name += " " + hash[:6]
	}
	c.Groups = append(c.Groups, Group{Name: name, hash: hash})
	return &c.Groups[len(c.Groups)-1]
}

// wayOf names a way to search: a variant, or a control beside it.
func wayOf(variant, control string) string {
	if control == "none" {
		return variant
	}
	return variant + " " + control
}

// judge scores all winners and the incumbent of the first run on the comparison's cases.
func (l *Lab) judge(ctx context.Context, c *Comparison, first *orchestrator.Stored, o Options) error {
	p, err := l.planOf(ctx, first, o)
	if err != nil {
		return err
	}
	agent, err := l.readAgent(snapshots.ID(first.Run.Agent), p)
	if err != nil {
		return err
	}
	bench, err := orchestrator.OpenBench(ctx, agent, p.Search.Grammar, p.Sandbox, p.Fuel, p.Workers, p.Workers, Drawn(c.Cases, p.Holdout.Recipe, c.Seed))
	if err != nil {
		return err
	}
	defer bench.Close()
	genomes, names := []*population.Genome{agent.Incumbent}, []string{incumbentName}
	for _, g := range c.Groups {
		genomes, names = append(genomes, g.winners...), append(names, g.Runs...)
	}
	outcomes, err := bench.Measure(ctx, genomes...)
	if err != nil {
		return err
	}
	var failed []error
	for i, outcome := range outcomes {
		if outcome.Status != population.OK {
			failed = append(failed, fmt.Errorf("the winner of %s could not be scored: %s %s; compare without it, or raise limits", names[i], outcome.Status, outcome.Detail))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	c.Incumbent = outcomes[0].Fitness()
	at := 1
	for i := range c.Groups {
		g := &c.Groups[i]
		for range g.Runs {
			g.Scores = append(g.Scores, outcomes[at].Fitness())
			g.Mean += outcomes[at].Fitness() / float64(len(g.Runs))
			at++
		}
	}
	return nil
}

// contrasts compares every two groups, and each with the incumbent.
func (c *Comparison) contrasts() {
	var all []contrast.Contrast
	add := func(first, second string, x contrast.Contrast) {
		c.Contrasts, all = append(c.Contrasts, Between{First: first, Second: second}), append(all, x)
	}
	for i, a := range c.Groups {
		for _, b := range c.Groups[i+1:] {
			if x, y, paired := bySeed(a, b); paired {
				add(a.Name, b.Name, contrast.Paired(x, y))
			} else {
				add(a.Name, b.Name, contrast.Unpaired(a.Scores, b.Scores))
			}
		}
	}
	for _, g := range c.Groups {
		add(g.Name, incumbentName, contrast.Paired(g.Scores, slices.Repeat([]float64{c.Incumbent}, len(g.Scores))))
	}
	contrast.Adjust(all)
	for i := range all {
		c.Contrasts[i].Contrast = all[i]
	}
	c.Answer = c.Contrasts[0].sentence(len(all))
}

// bySeed are the scores of two groups in the order of their seeds, if those are the same
// and each is there once.
func bySeed(a, b Group) (x, y []float64, paired bool) {
	of := func(g Group) map[uint64]float64 {
		scores := map[uint64]float64{}
		for i, seed := range g.Seeds {
			scores[seed] = g.Scores[i]
		}
		return scores
	}
	first, second := of(a), of(b)
	if len(first) != len(a.Seeds) || len(second) != len(b.Seeds) || len(first) != len(second) {
		return nil, nil, false
	}
	for _, seed := range a.Seeds {
		other, both := second[seed]
		if !both {
			return nil, nil, false
		}
		x, y = append(x, first[seed]), append(y, other)
	}
	return x, y, true
}

// Numbers are what can be asserted: the mean of incumbent and of each group by its name,
// a space as -, and difference, p and corrected of the first contrast, which the answer is
// about.
func (c *Comparison) Numbers() map[string]float64 {
	first := c.Contrasts[0]
	n := map[string]float64{"incumbent.mean": c.Incumbent, "difference": first.Difference, "p": first.P, "corrected": first.Adjusted}
	for _, g := range c.Groups {
		n[strings.ReplaceAll(g.Name, " ", "-")+".mean"] = g.Mean
	}
	return n
}

// surely is the level of the answer's words.
const surely = 0.05

func (b Between) sentence(of int) string {
	better, worse, difference := b.First, b.Second, -b.Difference
	if difference < 0 {
		better, worse, difference = worse, better, -difference
	}
	evidence := fmt.Sprintf("p = %.2g, corrected for %d comparisons", b.Adjusted, of)
	if of == 1 {
		evidence = fmt.Sprintf("p = %.2g", b.Adjusted)
	}
	if b.Interval != nil {
		low, high := b.Interval[0], b.Interval[1]
		if better == b.First {
			low, high = -high, -low
		}
		evidence = fmt.Sprintf("95 %%: %.4g to %.4g; %s", low, high, evidence)
	}
	switch {
	case difference == 0:
		return fmt.Sprintf("%q and %q score the same", b.First, b.Second)
	case b.Adjusted <= surely:
		return fmt.Sprintf("%q is better than %q: its mean score is lower by %.4g (%s)", better, worse, difference, evidence)
	}
	text := fmt.Sprintf("it is not shown that %q is better than %q, though its mean score is lower by %.4g (%s)", better, worse, difference, evidence)
	if least := leastSeeds(of); b.Paired && b.N[0] < least {
		text += fmt.Sprintf("; fewer than %d seeds cannot show it", least)
	}
	return text
}

// leastSeeds are the fewest pairs of which the test of signs can be sure, as one of so
// many comparisons: two of all signs say as much as if every pair says the same.
func leastSeeds(of int) (n int) {
	for n = 1; float64(of)*2/math.Exp2(float64(n)) > surely; n++ {
	}
	return n
}
