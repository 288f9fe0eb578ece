package propose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"jird/population"
	"jird/population/ga"
	"jird/snapshots/sexpr"
)

// The classes of what is wrong with an answer, as Usage counts them.
const (
	Unreadable = "unreadable" // no proposal could be found in it
	Misplaced  = "edit"       // an edit does not fit the source
	Invalid    = "invalid"    // it is not of the language
	Large      = "large"      // over the grammar's limits
	Tried      = "tried"      // a genome of the run already
	Near       = "near"       // nearly a genome that the run holds
)

// refusal is what is wrong with an answer.
type refusal struct {
	class  string
	reason string // for the proposer, fit to be shown
}

func refuse(class, format string, args ...any) *refusal {
	return &refusal{class, Visible(fmt.Sprintf(format, args...), maxNote)}
}

// judge keeps what a round's answers are compared with.
type judge struct {
	task    Task
	tried   func(string) bool
	genomes []*population.Genome // accepted, by ask
	taken   map[string]bool
	held    [][]uint64
}

func (p *Proposers) judge(r ga.Round) *judge {
	j := &judge{task: p.task, tried: r.Tried, genomes: make([]*population.Genome, len(r.Asks)), taken: map[string]bool{}}
	sketches := map[string][]uint64{}
	for _, g := range r.Near {
		s := p.sketches[g.Hash()]
		if s == nil {
			s = sketch(g.Source())
		}
		sketches[g.Hash()] = s
		j.held = append(j.held, s)
	}
	p.sketches = sketches
	return j
}

// take accepts the answer of an ask, or says why not. Where there is no answer, there is
// nothing to refuse.
func (j *judge) take(a *asked) *refusal {
	if a.exchange == nil || a.exchange.Failure != "" {
		return nil
	}
	g, why := j.genome(a)
	if why != nil {
		a.source.usage.Refused[why.class]++
		return why
	}
	a.source.usage.Accepted++
	j.genomes[a.place] = g
	return nil
}

func (j *judge) genome(a *asked) (*population.Genome, *refusal) {
	answer, err := ReadAnswer(a.exchange.Answer)
	if err != nil {
		return nil, refuse(Unreadable, "%v", err)
	}
	g, why := answer.genome(a.parent, a.request.Parent.Source)
	if why != nil {
		return nil, why
	}
	if !j.task.Grammar.Open {
		if why = j.allowed(g, a.request.Language); why != nil {
			return nil, why
		}
	}
	switch {
	case g.Hash() == a.request.Parent.Hash:
		return nil, refuse(Tried, "it is the parent, unchanged: propose something else")
	case j.taken[g.Hash()]:
		return nil, refuse(Tried, "the same was proposed for another child of this generation: propose something else")
	case j.tried(g.Hash()):
		return nil, refuse(Tried, "the same has been measured in this run already: propose something else")
	}
	mine := sketch(g.Source())
	if slices.ContainsFunc(j.held, func(other []uint64) bool { return near(mine, other) }) {
		return nil, refuse(Near, "all but the names of variables, digits after the fourth, or one word in hundreds is that of a genome that the run has: change more")
	}
	j.taken[g.Hash()] = true
	j.held = append(j.held, mine)
	return g, nil
}

// allowed holds a genome against what its request said of the grammar.
func (j *judge) allowed(g *population.Genome, l Language) *refusal {
	for i, body := range bodies(g) {
		d := j.task.Grammar.Definitions[i]
		if s := d.Shape; s != nil {
			if items := len(body.(sexpr.List)[1].(sexpr.List)); items < s.Min || items > s.Max {
				return refuse(Large, "%s has %d items: use %d to %d", d.Name, items, s.Min, s.Max)
			}
			continue
		}
		if size(body) > l.MaxSize || depth(body) > l.MaxDepth {
			return refuse(Large, "%s has %d nodes and depth %d, over the limits of %d and %d: make it smaller", d.Name, size(body), depth(body), l.MaxSize, l.MaxDepth)
		}
		for _, name := range slices.Sorted(maps.Keys(calls([]sexpr.Value{body}))) {
			if !slices.Contains(l.Functions, name) {
				return refuse(Invalid, "%s calls %s: use some of %s", d.Name, name, strings.Join(l.Functions, " "))
			}
		}
	}
	return nil
}

// size is the number of nodes of an expression of a grammar: that of its atoms, since what
// is called stands for the call.
func size(v sexpr.Value) int {
	list, ok := v.(sexpr.List)
	if !ok {
		return 1
	}
	n := 0
	for _, item := range list {
		n += size(item)
	}
	return n
}

// depth is that of an expression of a grammar; a leaf has 1.
func depth(v sexpr.Value) int {
	list, _ := v.(sexpr.List)
	n := 0
	for _, item := range list {
		n = max(n, depth(item))
	}
	return n + 1
}
