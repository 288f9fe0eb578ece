package propose

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"jird/population"
	"jird/population/ga"
	"jird/snapshots/sexpr"
)

// Version names the schema of Request and Answer. A new field in either keeps it; a field
// that goes or changes its meaning makes it another.
const Version = "proposal/1"

// Bounds on what of others is put into a request, in bytes.
const (
	maxFailures = 4 << 10
	maxRefused  = 8 << 10
)

// Request is what a proposer is asked, as JSON with its keys in this order.
type Request struct {
	Version      string    `json:"jird"`
	Seed         uint64    `json:"seed"` // below 2^53, so that any reader of JSON has it whole
	Task         string    `json:"task"` // the user's words
	Better       string    `json:"better"`
	File         string    `json:"file"` // of the agent, where the definitions stand
	Language     Language  `json:"language"`
	Parent       Parent    `json:"parent"`
	Inspirations []Example `json:"inspirations"` // best first
	Refused      *Refused  `json:"refused,omitempty"`
}

// Language is what an answer may be made of.
type Language struct {
	Kind        string       `json:"kind"` // "grammar" or "open"
	About       string       `json:"about"`
	Definitions []Definition `json:"definitions"` // that must be there
	Functions   []string     `json:"functions,omitempty"`
	Constants   []Range      `json:"constants,omitempty"` // what the search draws; others are allowed
	MaxSize     int          `json:"max_size,omitempty"`  // nodes of one definition
	MaxDepth    int          `json:"max_depth,omitempty"`
	Names       []string     `json:"names,omitempty"` // that the agent defines already
}

// Definition is one that must be there. Of an open language only the name is told.
type Definition struct {
	Name    string `json:"name"`
	Args    []Arg  `json:"args,omitzero"`
	Returns string `json:"returns,omitempty"`
	Items   *Items `json:"items,omitempty"` // of a list
}

// Arg is an argument of a definition.
type Arg struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Items are what a list is made of.
type Items struct {
	Low    int64 `json:"low"`
	High   int64 `json:"high"`
	Of     int   `json:"of"` // numbers of one item
	Rising bool  `json:"rising"`
	Min    int   `json:"min"` // items
	Max    int   `json:"max"`
}

// Range is where constants are drawn from.
type Range struct {
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Integer bool    `json:"integer"`
}

// Parent is what is to be improved.
type Parent struct {
	Hash     string   `json:"hash"`
	Source   string   `json:"source"`   // what the edits of an answer are applied to
	Fitness  *float64 `json:"fitness"`  // null where it failed
	Status   string   `json:"status"`   // "ok", or how it failed
	Scores   []Score  `json:"scores"`   // on the training cases that it was measured on
	Failures string   `json:"failures"` // what it said or did when it failed
}

// Score is that of one case.
type Score struct {
	Case  string  `json:"case"`
	Score float64 `json:"score"`
}

// Example is another genome that did well.
type Example struct {
	Source  string   `json:"source"`
	Fitness *float64 `json:"fitness"`
}

// Refused is the answer before this one, and what was wrong with it.
type Refused struct {
	Answer string `json:"answer"` // its first 8 KiB
	Reason string `json:"reason"`
}

const (
	aboutGrammar = "Each definition is (define (NAME ARG ...) EXPRESSION): an expression over its arguments, numbers, #t and #f, " +
		"with the functions listed and nothing else: no let, no recursion, no other definition. Nothing can fail: (/ a 0) is 1, (sqrt a) is that of the magnitude of a, and what is too large for a number is clamped. " +
		"A definition that returns a list is (define (NAME) '(ITEM ...)): data."
	aboutOpen = "Any Scheme that Gambit and Gerbil both run: R5RS without define-syntax, and define-record-type, parameterize, raise, " +
		"with-exception-catcher, string ports, tables (make-table, table-ref, table-set!), u8vectors and f64vectors. " +
		"There is nothing to import, and no let-values, filter, fold, sort or assert. " +
		"The definitions listed must be there, with the arguments that they have in the parent; more may be added, by names that are not taken. " +
		"It runs in a process of its own without files, network or other programs, within limits of time and memory."
)

// request makes the first request of an ask.
func (p *Proposers) request(a ga.Ask) Request {
	parent := Parent{
		Hash: a.Parent.Genome.Hash(), Source: sexpr.Layout(a.Parent.Genome.Source()), Fitness: fitness(a.Parent), Status: string(a.Parent.Outcome.Status),
		Scores: []Score{}, Failures: Visible(a.Parent.Outcome.Detail, maxFailures),
	}
	for i, s := range a.Parent.Outcome.Scores {
		name := "case " + strconv.Itoa(i+1)
		if i < len(p.task.Cases) {
			name = p.task.Cases[i]
		}
		parent.Scores = append(parent.Scores, Score{name, s.Value()})
	}
	r := Request{
		Version: Version, Seed: a.Seed & (1<<53 - 1), Task: p.task.Text, Better: "lower", File: p.task.File,
		Language: p.task.language(a.Parent.Genome), Parent: parent, Inspirations: []Example{},
	}
	for _, m := range a.Inspirations {
		r.Inspirations = append(r.Inspirations, Example{sexpr.Layout(m.Genome.Source()), fitness(m)})
	}
	return r
}

func fitness(m ga.Member) *float64 {
	if m.Outcome.Status != population.OK {
		return nil
	}
	f := m.Outcome.Fitness()
	return &f
}

// language says what a child of a parent may be made of. What the parent uses beyond the
// grammar it may keep, since a seed is given and not drawn.
func (t Task) language(parent *population.Genome) Language {
	g := t.Grammar
	l := Language{Kind: "grammar", About: aboutGrammar, MaxSize: g.MaxSize, MaxDepth: g.MaxDepth}
	if t.Grammar.Open {
		l = Language{Kind: "open", About: aboutOpen, Names: t.Names}
	} else {
		l.Functions = slices.Clone(g.Functions)
		for name := range calls(slices.Concat(g.Leaves, bodies(parent))) {
			l.Functions = append(l.Functions, name)
		}
		slices.Sort(l.Functions)
		l.Functions = slices.Compact(l.Functions)
		for _, c := range g.Constants {
			l.Constants = append(l.Constants, Range(c))
		}
	}
	for _, d := range g.Definitions {
		l.Definitions = append(l.Definitions, t.definition(d))
	}
	return l
}

func (t Task) definition(d population.Definition) Definition {
	if t.Grammar.Open {
		return Definition{Name: d.Name}
	}
	made := Definition{Name: d.Name, Args: []Arg{}, Returns: d.Result.String()}
	for _, p := range d.Params {
		made.Args = append(made.Args, Arg{p.Name, p.Kind.String()})
	}
	if s := d.Shape; s != nil {
		made.Items = &Items{s.Low, s.High, s.Of, s.Rising, s.Min, s.Max}
	}
	return made
}

// bodies are what the definitions of a genome of a grammar answer.
func bodies(g *population.Genome) (all []sexpr.Value) {
	forms, _ := sexpr.ReadAll([]byte(g.Source())) // canonical: it reads
	for _, f := range forms {
		if list, ok := f.(sexpr.List); ok && len(list) == 3 {
			all = append(all, list[2])
		}
	}
	return all
}

// calls are the names of what expressions of a grammar call.
func calls(expressions []sexpr.Value) map[string]bool {
	all := map[string]bool{}
	var walk func(v sexpr.Value)
	walk = func(v sexpr.Value) {
		list, ok := v.(sexpr.List)
		if !ok || len(list) == 0 {
			return
		}
		name, _ := list[0].(sexpr.Symbol)
		if name == "quote" {
			return
		}
		all[string(name)] = true
		for _, v := range list[1:] {
			walk(v)
		}
	}
	for _, v := range expressions {
		walk(v)
	}
	return all
}

// encode writes JSON on one line, with < and > as they are: Scheme is full of them.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
