// Package experiments turns an intent into a run: it reads the spec of an
// experiment, strictly, and derives a run's plan and identity from it.
package experiments

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"jird/orchestrator"
	"jird/population"
	"jird/population/ga"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots/sexpr"
)

// Spec is one experiment, or one variant of it. Its JSON, with keys in this
// order, is what a run's identity is made from; it rebuilds the run without the
// file.
type Spec struct {
	Name     string   `json:"name"`
	Variant  string   `json:"variant"`
	Runtime  string   `json:"runtime"`
	Seed     uint64   `json:"seed"`
	Evolve   Evolve   `json:"evolve"`
	Grammar  Grammar  `json:"grammar"`
	Search   Search   `json:"search"`
	Train    CaseSpec `json:"train"`
	Validate CaseSpec `json:"validate"`
	Holdout  CaseSpec `json:"holdout"`
	Alpha    float64  `json:"alpha"` // of a promotion, as the next two
	Effect   float64  `json:"effect"`
	Power    float64  `json:"power"`
	Limits   Limits   `json:"limits"`
	Question string   `json:"question,omitempty"` // what a comparison of its runs is to tell

	Task      string     `json:"task,omitempty"` // what proposers are told
	Proposers []Proposer `json:"proposers,omitempty"`
	Ceilings  *Ceilings  `json:"ceilings,omitempty"`

	Agent    string `json:"-"` // folder, resolved
	Matrix   Matrix `json:"-"`
	Shadows  int    `json:"-"`
	StopFile string `json:"-"`
	Engine   string `json:"-"` // see Engine.Where

	place Fault // of the word agent, without a message
}

// Evolve says what is evolved.
type Evolve struct {
	File        string       `json:"file"`
	Trust       string       `json:"trust,omitempty"` // "open", or absent: of a grammar
	Definitions []Definition `json:"definitions"`
}

// Definition is one evolved definition; Args are NAME TYPE pairs in order.
type Definition struct {
	Name    string      `json:"name"`
	Args    [][2]string `json:"args"`
	Returns string      `json:"returns"`
	Items   *Items      `json:"items,omitempty"` // of a list
}

// Items are what a list is made of.
type Items struct {
	Low    int  `json:"low"`
	High   int  `json:"high"`
	Of     int  `json:"of"` // numbers of one item
	Rising bool `json:"rising"`
	Min    int  `json:"min"` // items
	Max    int  `json:"max"`
}

// Grammar is what genomes are drawn from; leaves are canonical expressions.
type Grammar struct {
	Functions []string                   `json:"functions"`
	Leaves    []string                   `json:"leaves"`
	Constants []population.ConstantRange `json:"constants"`
	MaxDepth  int                        `json:"max_depth"`
	MaxSize   int                        `json:"max_size"`
}

// Search is how genomes are sought, and until when.
type Search struct {
	Islands      int           `json:"islands"`
	Population   int           `json:"population"`
	Generations  int           `json:"generations"`
	Budget       time.Duration `json:"budget_ns"`
	Evaluations  int           `json:"evaluations"`
	Steps        int           `json:"steps,omitempty"` // absent where it is not set, as before it could be
	Stagnation   int           `json:"stagnation"`
	Target       *float64      `json:"target"`
	MigrateEvery int           `json:"migrate_every"`
	Migrants     int           `json:"migrants"`
	Selection    ga.Selection  `json:"selection"`
	Elites       int           `json:"elites"`
	Operators    ga.Operators  `json:"operators"`
	Control      string        `json:"control"`
	Archive      []Feature     `json:"archive,omitempty"`
	Cascade      *Cascade      `json:"cascade,omitempty"`
}

// CaseSpec asks the referee for cases; Recipe is canonical.
type CaseSpec struct {
	Count  int    `json:"count"`
	Recipe string `json:"recipe"`
}

// Limits bound one shadow.
type Limits struct {
	Fuel      int           `json:"fuel"` // steps per case
	Heap      int64         `json:"heap_bytes"`
	Wall      time.Duration `json:"wall_ns"`
	Output    int64         `json:"output_bytes"`
	OpenFiles int           `json:"open_files"`
	Workspace int64         `json:"workspace_bytes"`
}

func defaults() Spec {
	return Spec{
		Runtime: "auto", Seed: 1, Shadows: 50, Matrix: Matrix{Seeds: 5}, Alpha: 0.01, Effect: 0.05, Power: 0.8,
		Grammar: Grammar{MaxDepth: 8, MaxSize: 40},
		Search: Search{
			Islands: 4, Population: 100, MigrateEvery: 5, Migrants: 3, Elites: 2,
			Selection: ga.Selection{Kind: "tournament", Size: 5}, Control: "none",
			Operators: ga.Operators{Crossover: 3, SizeFair: 3, Subtree: 2, Point: 2, Constant: 2, Hoist: 0.5},
		},
		Train: CaseSpec{Recipe: "()"}, Validate: CaseSpec{Recipe: "()"}, Holdout: CaseSpec{Recipe: "()"},
		Limits: Limits{Fuel: 50_000_000, Heap: 64 << 20, Wall: 30 * time.Second, Output: 64 << 10, OpenFiles: 16},
	}
}

// Load reads an experiment file and one of its variants; an empty variant is
// the first, or the spec itself where there are none. The error is a *SpecError
// with all faults.
func Load(path, variant string) (*Spec, error) {
	r, root := readRoot(path, startFrom)
	if root == nil {
		return nil, r.err()
	}
	spec := defaults()
	var variants ast.Node
	fields := r.specFields(&spec)
	fields["name"] = r.text(&spec.Name)
	fields["agent"] = r.agent(&spec.Agent, &spec.place)
	fields["question"] = r.text(&spec.Question)
	fields["engine"] = func(n ast.Node, name string) {
		if r.text(&spec.Engine)(n, name); CheckEngine(spec.Engine) != "" {
			r.fault(n, "engine %s", CheckEngine(spec.Engine))
		}
	}
	fields["matrix"] = func(n ast.Node, name string) { r.object(n, name, r.matrixFields(&spec.Matrix)) }
	fields["evolve"] = func(n ast.Node, name string) { r.object(n, name, r.evolveFields(&spec.Evolve)) }
	fields["variants"] = func(n ast.Node, _ string) { variants = n }
	r.object(root, "the experiment", fields)
	if variants != nil {
		r.variants(variants, &spec, variant)
	} else if variant != "" || spec.Matrix.Variants != nil {
		r.fault(root, "variant %q is asked for, and the experiment has no variants", cmp.Or(append([]string{variant}, spec.Matrix.Variants...)...))
	}
	if r.complete(root, &spec); len(r.faults) == 0 {
		spec.resolve(filepath.Dir(path))
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return &spec, nil
}

func (r *reader) matrixFields(m *Matrix) map[string]field {
	control := func(to *string) field { return r.oneOf(to, string(ga.Random), string(ga.BestOfN)) }
	return map[string]field{
		"variants": r.words(&m.Variants, "a variant", r.text), "seeds": r.integer(&m.Seeds, 1, 1000), "controls": r.words(&m.Controls, "a control", control),
	}
}

// words reads a list of texts.
func (r *reader) words(to *[]string, name string, word func(*string) field) field {
	return func(n ast.Node, list string) {
		*to = nil
		r.list(func(v ast.Node) {
			var text string
			word(&text)(v, name)
			*to = append(*to, text)
		})(n, list)
	}
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// variants checks all of them and applies the wanted one.
func (r *reader) variants(n ast.Node, spec *Spec, wanted string) {
	base := *spec
	before := len(r.faults)
	defer func() { r.faulty["variants"] = len(r.faults) > before }()
	var names []string
	for _, p := range r.pairs(n, "variants") {
		one := base
		names = append(names, p.key)
		r.object(p.value, "variant "+p.key, r.specFields(&one))
		if p.key == wanted || (wanted == "" && len(names) == 1) {
			*spec = one
			spec.Variant = p.key
		}
	}
	if spec.Matrix.Variants == nil {
		spec.Matrix.Variants = names
	}
	for _, name := range spec.Matrix.Variants {
		if !slices.Contains(names, name) {
			r.fault(r.places["matrix"], "matrix names the variant %q, which is not there; %s", name, Suggest(name, names))
		}
	}
	if wanted != "" && spec.Variant != wanted {
		r.fault(n, "there is no variant %q; %s", wanted, Suggest(wanted, names))
	}
}

// specFields are the keys that a variant may override too.
func (r *reader) specFields(s *Spec) map[string]field {
	return map[string]field{
		"task": r.prose(&s.Task), "proposers": r.proposers(&s.Proposers), "ceilings": r.ceilings(&s.Ceilings),
		"runtime": r.oneOf(&s.Runtime, "auto", "gambit", "gerbil"),
		"seed":    r.seed(&s.Seed, math.MaxInt),
		"shadows": r.integer(&s.Shadows, 1, 100_000),
		"grammar": func(n ast.Node, name string) { r.object(n, name, r.grammarFields(&s.Grammar)) },
		"search": func(n ast.Node, name string) {
			fields := r.searchFields(s)
			fields["archive"], fields["cascade"] = r.archive(&s.Search.Archive), r.cascade(&s.Search.Cascade)
			r.object(n, name, fields)
		},
		"cases": func(n ast.Node, name string) {
			r.object(n, name, map[string]field{"train": r.cases(&s.Train), "validate": r.cases(&s.Validate), "holdout": r.cases(&s.Holdout)})
		},
		"promotion": func(n ast.Node, name string) {
			r.object(n, name, map[string]field{
				"alpha": r.real(&s.Alpha, 0.0001, 0.5), "effect": r.real(&s.Effect, 0.001, 1), "power": r.real(&s.Power, 0.5, 0.999),
			})
		},
		"limits": func(n ast.Node, name string) { r.object(n, name, r.limitFields(&s.Limits)) },
	}
}

func (r *reader) seed(to *uint64, most int) field {
	return func(n ast.Node, name string) {
		seed := int(*to)
		r.integer(&seed, 0, most)(n, name)
		*to = uint64(seed)
	}
}

// agent reads the agent's folder, and where it is said.
func (r *reader) agent(to *string, place *Fault) field {
	return func(n ast.Node, name string) {
		r.text(to)(n, name)
		*place = Fault{File: r.file, Line: n.GetToken().Position.Line, Column: n.GetToken().Position.Column}
	}
}

func (r *reader) limitFields(l *Limits) map[string]field {
	return map[string]field{
		"fuel": r.integer(&l.Fuel, 1, 1<<50), "heap": r.bytes(&l.Heap), "wall": r.duration(&l.Wall),
		"output": r.bytes(&l.Output), "open-files": r.integer(&l.OpenFiles, 8, 1000), "workspace": r.bytesOrNone(&l.Workspace),
	}
}

func (r *reader) grammarFields(g *Grammar) map[string]field {
	return map[string]field{
		"functions": r.words(&g.Functions, "a function", r.text),
		"leaves": func(n ast.Node, name string) {
			g.Leaves = nil
			r.list(func(v ast.Node) {
				if e, ok := r.expression(v); ok {
					text, _ := sexpr.Canonical(e)
					g.Leaves = append(g.Leaves, string(text))
				}
			})(n, name)
		},
		"constants": func(n ast.Node, name string) {
			g.Constants = nil
			r.list(func(v ast.Node) {
				var c population.ConstantRange
				r.object(v, "a range of constants", map[string]field{
					"low":  r.real(&c.Low, -population.MaxConstant, population.MaxConstant),
					"high": r.real(&c.High, -population.MaxConstant, population.MaxConstant), "integer": r.boolean(&c.Integer),
				})
				g.Constants = append(g.Constants, c)
			})(n, name)
		},
		"max-depth": r.integer(&g.MaxDepth, 2, 50),
		"max-size":  r.integer(&g.MaxSize, 3, 1000),
	}
}

func (r *reader) searchFields(spec *Spec) map[string]field {
	s := &spec.Search
	return map[string]field{
		"islands": r.integer(&s.Islands, 1, 1000), "population": r.integer(&s.Population, 2, 100_000),
		"generations": r.integer(&s.Generations, 0, 1_000_000), "budget": r.duration(&s.Budget),
		"evaluations": r.integer(&s.Evaluations, 0, math.MaxInt), "steps": r.integer(&s.Steps, 0, math.MaxInt), "stagnation": r.integer(&s.Stagnation, 0, 1_000_000),
		"target": func(n ast.Node, name string) {
			var v float64
			r.real(&v, -1e300, 1e300)(n, name)
			s.Target = &v
		},
		"stop-file": r.text(&spec.StopFile), "migrate-every": r.integer(&s.MigrateEvery, 0, 1_000_000),
		"migrants": r.integer(&s.Migrants, 1, 100_000), "elites": r.integer(&s.Elites, 0, 100_000),
		"control": r.oneOf(&s.Control, "none", string(ga.Random), string(ga.BestOfN)),
		"selection": func(n ast.Node, name string) {
			r.object(n, name, map[string]field{
				"kind": r.oneOf(&s.Selection.Kind, "tournament", "lexicase", "epsilon-lexicase", "novelty"), "size": r.integer(&s.Selection.Size, 1, 1000),
			})
		},
		"operators": func(n ast.Node, name string) {
			o := &s.Operators
			r.object(n, name, map[string]field{
				"crossover": r.real(&o.Crossover, 0, 1000), "size-fair": r.real(&o.SizeFair, 0, 1000), "subtree": r.real(&o.Subtree, 0, 1000),
				"point": r.real(&o.Point, 0, 1000), "constant": r.real(&o.Constant, 0, 1000), "hoist": r.real(&o.Hoist, 0, 1000),
			})
		},
	}
}

func (r *reader) cases(to *CaseSpec) field {
	return func(n ast.Node, name string) {
		r.object(n, name, map[string]field{
			"count": r.integer(&to.Count, 1, 100_000),
			"recipe": func(n ast.Node, _ string) {
				text, err := sexpr.Canonical(r.datum(n))
				if err != nil {
					r.fault(n, "recipe: %v", err)
				}
				to.Recipe = string(text)
			},
		})
	}
}

func (r *reader) evolveFields(e *Evolve) map[string]field {
	return map[string]field{
		"file": r.text(&e.File),
		"trust": func(n ast.Node, name string) {
			e.Trust = "grammar"
			if r.oneOf(&e.Trust, "grammar", "open")(n, name); e.Trust == "grammar" {
				e.Trust = "" // as before it could be said
			}
		},
		"definitions": func(n ast.Node, name string) {
			for _, p := range r.pairs(n, name) {
				d := Definition{Name: p.key, Returns: "real"}
				r.object(p.value, "definition "+p.key, map[string]field{
					"items": func(n ast.Node, name string) { d.Items = r.items(n, name) },
					"args": func(n ast.Node, name string) {
						for _, a := range r.pairs(n, name) {
							kind := "real"
							r.oneOf(&kind, "real", "bool")(a.value, a.key)
							d.Args = append(d.Args, [2]string{a.key, kind})
						}
					},
					"returns": r.oneOf(&d.Returns, "real", "bool", "list"),
				})
				if (d.Returns == "list") != (d.Items != nil) {
					r.fault(p.value, "%s: returns: list and items go together: what a list is made of", p.key)
				}
				e.Definitions = append(e.Definitions, d)
			}
		},
	}
}

// items reads what a list is made of.
func (r *reader) items(n ast.Node, name string) *Items {
	i := &Items{High: 1, Of: 1, Min: 1, Max: 40}
	r.object(n, name, map[string]field{
		"low": r.integer(&i.Low, -population.MaxItem, population.MaxItem), "high": r.integer(&i.High, -population.MaxItem, population.MaxItem), "of": r.integer(&i.Of, 1, 64), "rising": r.boolean(&i.Rising),
		"min": r.integer(&i.Min, 0, 1000), "max": r.integer(&i.Max, 1, 1000),
	})
	return i
}

// complete checks what no single key can: what is missing, and what does not
// fit together. What has a fault already is not said to be missing too.
func (r *reader) complete(root ast.Node, s *Spec) {
	for _, need := range []struct {
		what    string
		missing bool
		keys    []string // that excuse it
	}{
		{"name", s.Name == "", []string{"name"}}, {"agent", s.Agent == "", []string{"agent"}},
		{"evolve.file", s.Evolve.File == "", []string{"evolve"}},
		{"cases.train", s.Train.Count == 0, []string{"cases", "variants"}},
		{"cases.holdout", s.Holdout.Count == 0, []string{"cases", "variants"}},
	} {
		if need.missing && !r.anyFaulty(need.keys...) {
			r.fault(root, "%s is missing; see the packer example for what it says", need.what)
		}
	}
	if s.Name != "" && !namePattern.MatchString(s.Name) {
		r.fault(root, "name %q must be of letters, digits, - and _: it names runs and refs", s.Name)
	}
	if s.Validate.Count == 0 {
		s.Validate = s.Train
	}
	if c := s.Search; c.Generations == 0 && c.Budget == 0 && c.Evaluations == 0 && c.Steps == 0 && c.Stagnation == 0 && c.Target == nil && s.StopFile == "" && !r.faulty["search"] {
		r.fault(root, "nothing would end the search: set search.generations, budget, evaluations, steps, stagnation, target or stop-file")
	}
	if r.completeProposers(root, s); r.anyFaulty("evolve", "grammar", "search", "variants", "proposers") {
		return
	}
	g, err := s.population()
	if err == nil {
		err = errors.Join(g.Check(), s.search(g).Check())
	}
	for _, line := range split(err) {
		r.fault(r.about(line, root), "%s", line)
	}
}

// about is the place of the key that a message begins with.
func (r *reader) about(message string, otherwise ast.Node) ast.Node {
	word, _, _ := strings.Cut(message, " ")
	for _, key := range []string{word, strings.TrimSuffix(word, ":"), strings.TrimSuffix(word, ":") + "s"} {
		if n := r.places[key]; n != nil {
			return n
		}
	}
	return otherwise
}

func (r *reader) anyFaulty(keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return r.faulty[k] })
}

// resolve takes relative paths from the spec's folder.
func (s *Spec) resolve(dir string) {
	for _, path := range []*string{&s.Agent, &s.StopFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
}

func split(err error) []string {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var lines []string
		for _, e := range many.Unwrap() {
			lines = append(lines, split(e)...)
		}
		return lines
	}
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}

// JSON is the spec's effective form, the same for the same meaning.
func (s *Spec) JSON() (text, hash string) {
	b, err := json.Marshal(s)
	if err != nil {
		panic("experiments: a spec without JSON: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return string(b), hex.EncodeToString(sum[:])
}

// FromJSON reads back what JSON wrote.
func FromJSON(text string) (*Spec, error) {
	d := defaults()
	s := &Spec{Shadows: d.Shadows, Effect: d.Effect, Power: d.Power} // older specs do not say them
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return nil, fmt.Errorf("reading the recorded spec: %w", err)
	}
	return s, nil
}

func (s *Spec) population() (*population.Grammar, error) { return grammarFrom(s.Evolve, s.Grammar) }

func grammarFrom(evolved Evolve, from Grammar) (*population.Grammar, error) {
	g := &population.Grammar{Functions: from.Functions, Constants: from.Constants, MaxDepth: from.MaxDepth, MaxSize: from.MaxSize, Open: evolved.Trust == "open"}
	for _, d := range evolved.Definitions {
		result, err := population.KindOf(d.Returns)
		if err != nil {
			return nil, err
		}
		def := population.Definition{Name: d.Name, Result: result}
		if i := d.Items; i != nil {
			def.Shape = &population.Shape{Low: int64(i.Low), High: int64(i.High), Of: i.Of, Rising: i.Rising, Min: i.Min, Max: i.Max}
		}
		for _, a := range d.Args {
			kind, err := population.KindOf(a[1])
			if err != nil {
				return nil, err
			}
			def.Params = append(def.Params, population.Param{Name: a[0], Kind: kind})
		}
		g.Definitions = append(g.Definitions, def)
	}
	for _, text := range from.Leaves {
		leaf, err := sexpr.Read([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("leaf %s: %w", text, err)
		}
		g.Leaves = append(g.Leaves, leaf)
	}
	return g, nil
}

func (s *Spec) search(g *population.Grammar) ga.Config {
	c := searchConfig(s.Search, g, s.Seed)
	c.Sources = s.sources()
	return c
}

func searchConfig(c Search, g *population.Grammar, seed uint64) ga.Config {
	var archive []ga.Feature
	for _, f := range c.Archive {
		archive = append(archive, ga.Feature(f))
	}
	return ga.Config{
		Archive: archive,
		Grammar: g, Seed: seed, Islands: c.Islands, Population: c.Population, Generations: c.Generations,
		MigrateEvery: c.MigrateEvery, Migrants: c.Migrants, Selection: c.Selection, Elites: c.Elites, Operators: c.Operators,
		Best: 100, Control: control(c.Control),
	}
}

func control(name string) ga.Control {
	if name == "none" {
		return ga.Evolve
	}
	return ga.Control(name)
}

func (c CaseSpec) cases() (orchestrator.Cases, error) {
	recipe, err := sexpr.Read([]byte(c.Recipe))
	return orchestrator.Cases{Count: c.Count, Recipe: recipe}, err
}

// sandbox is how shadows are bounded.
func (l Limits) sandbox() sandbox.Options {
	return sandbox.Options{
		Policy: isolation.Policy{Level: isolation.Full, Heap: l.Heap, OpenFiles: l.OpenFiles, Workspace: l.Workspace},
		Wall:   l.Wall, Output: int(l.Output),
	}
}

// Plan makes the spec a run's plan, but for its record, its workers and the
// runtime.
func (s *Spec) Plan() (orchestrator.Plan, error) {
	g, err := s.population()
	if err != nil {
		return orchestrator.Plan{}, err
	}
	p := orchestrator.Plan{
		Search: s.search(g), Evolved: s.Evolve.File, Alpha: s.Alpha, Effect: s.Effect, Power: s.Power, Fuel: int64(s.Limits.Fuel), Shadows: s.Shadows,
		Stops: orchestrator.Stops{
			Generations: s.Search.Generations, Evaluations: s.Search.Evaluations, Steps: int64(s.Search.Steps), Stagnation: s.Search.Stagnation,
			Target: s.Search.Target, Budget: s.Search.Budget, StopFile: s.StopFile,
		},
		Sandbox: s.Limits.sandbox(),
	}
	if c := s.Search.Cascade; c != nil {
		p.Cascade = orchestrator.Cascade{Cases: c.Cases, AtMost: c.AtMost}
	}
	p.Sandbox.Slots = s.Shadows + 8
	for _, c := range []struct {
		from CaseSpec
		to   *orchestrator.Cases
	}{{s.Train, &p.Train}, {s.Validate, &p.Validate}, {s.Holdout, &p.Holdout}} {
		if *c.to, err = c.from.cases(); err != nil {
			return p, err
		}
	}
	return p, nil
}

// Identify completes a record with its spec's hash and the run's id, which is
// derived from spec, agent, seed, generations, budget, runtime and repeat.
func (s *Spec) Identify(r *orchestrator.RunRecord) {
	r.Name, r.Variant = s.Name, s.Variant
	r.Seed, r.Generations, r.Budget = s.Seed, s.Search.Generations, s.Search.Budget
	r.Spec, r.SpecHash = s.JSON()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d/%d/%d/%s/%d", r.SpecHash, r.Agent, r.Seed, r.Generations, r.Budget, r.Runtime, r.Repeat))
	r.ID = s.Name
	if s.Variant != "" {
		r.ID += "-" + s.Variant
	}
	r.ID += "-" + hex.EncodeToString(sum[:6])
}
