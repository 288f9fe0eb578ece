package report

import (
	"maps"
	"math"
	"slices"

	"jird/experiments/ledger"
	"jird/orchestrator/promote"
	"jird/population"
)

// evidence is a decision as a page shows it.
type evidence struct {
	*ledger.Explanation
	Guardrails []guardrail
	Last       *promote.Look // nil while undecided
	Relative   float64       // what the winner saves, of the incumbent's score
	Incumbent  totals
	Winner     totals
	Pairs      []ledger.Compared // the first of them
	More       int               // pairs that are not shown
	Change     []part
}

type guardrail struct{ Name, Rule string }

// totals are what a side's measurements come to.
type totals struct {
	Failed int
	Steps  int64
}

func (t *totals) add(m ledger.Measured) {
	t.Steps += m.Steps
	if m.Status != population.OK {
		t.Failed++
	}
}

// shownPairs bounds the page; `jird explain` prints all.
const shownPairs = 200

func evident(e *ledger.Explanation) *evidence {
	if e == nil {
		return nil
	}
	v := &evidence{Explanation: e, Change: difference(e.Declared.Incumbent, e.Declared.Winner)}
	for _, name := range slices.Sorted(maps.Keys(e.Declared.Guardrails)) {
		v.Guardrails = append(v.Guardrails, guardrail{name, e.Declared.Guardrails[name]})
	}
	if e.Decided == nil {
		return v
	}
	for _, c := range e.Decided.Cases {
		v.Incumbent.add(c.Incumbent)
		v.Winner.add(c.Winner)
	}
	shown := min(len(e.Decided.Cases), shownPairs)
	v.Pairs, v.More = e.Decided.Cases[:shown], len(e.Decided.Cases)-shown
	if n := len(e.Decided.Looks); n > 0 {
		v.Last = &e.Decided.Looks[n-1]
		if v.Last.Incumbent != 0 {
			v.Relative = v.Last.Statistic / math.Abs(v.Last.Incumbent)
		}
	}
	return v
}

// Evidence is the run's decision, or nil.
func (r *Run) Evidence() *evidence { return evident(r.Decision) }

// Evidence is the tournament's decision, or nil.
func (t *Tournament) Evidence() *evidence { return evident(t.Decision) }

// node is one of the winner's line, with what was changed to make it.
type node struct {
	ledger.Step
	Change []part // from the mother; of one without, its source
}

// Tree is the winner's line from the winner back.
func (r *Run) Tree() (all []node) {
	if r.Lineage == nil {
		return nil
	}
	path := r.Lineage.Path
	for i, s := range path {
		n := node{Step: s}
		if i+1 < len(path) {
			n.Change = difference(path[i+1].Source, s.Source)
		} else {
			n.Change = []part{{Text: ledger.Body(s.Source)}}
		}
		all = append(all, n)
	}
	return all
}
