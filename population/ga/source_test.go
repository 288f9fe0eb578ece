package ga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"jird/population"
	"jird/snapshots/sexpr"
)

// proposing is a proposer by one function for each name. What it makes that is not new
// becomes nil.
type proposing struct {
	by     map[string]func(a Ask, r Round) *population.Genome
	rounds []Round
}

func (p *proposing) Propose(_ context.Context, r Round) ([]*population.Genome, error) {
	p.rounds = append(p.rounds, r)
	genomes, given := make([]*population.Genome, len(r.Asks)), map[string]bool{}
	for i, a := range r.Asks {
		if g := p.by[a.Proposer](a, r); g != nil && !given[g.Hash()] && !r.Tried(g.Hash()) {
			given[g.Hash()] = true
			genomes[i] = g
		}
	}
	return genomes, nil
}

func nothing(Ask, Round) *population.Genome { return nil }

// crossing depends on all that it is told.
func crossing(a Ask, r Round) *population.Genome {
	said := fnv.New64()
	fmt.Fprint(said, a.Seed, r.Generation, a.Parent.Op, a.Parent.Parents)
	for _, m := range a.Inspirations {
		fmt.Fprint(said, m.Genome.Hash(), m.Op, m.Parents, m.Outcome)
	}
	for _, g := range r.Near {
		fmt.Fprint(said, g.Hash())
	}
	rng := rand.New(rand.NewSource(int64(said.Sum64() >> 1)))
	if len(a.Inspirations) == 0 || rng.Intn(8) == 0 {
		return nil
	}
	return a.Parent.Genome.Grammar().Crossover(rng, a.Parent.Genome, a.Inspirations[0].Genome)
}

func pointing(a Ask, _ Round) *population.Genome {
	return a.Parent.Genome.Grammar().Point(rand.New(rand.NewSource(int64(a.Seed>>1))), a.Parent.Genome)
}

// line is a language of (+ x K) for whole K alone, under an open grammar.
func line(t testing.TB, k int) *population.Genome {
	t.Helper()
	g := grammar(t)
	g.Open = true
	return on(g, k)
}

func on(g *population.Grammar, k int) *population.Genome {
	genome, err := g.Parse(fmt.Appendf(nil, "(define (f x) (+ x %d.))", k))
	if err != nil {
		panic(err)
	}
	return genome
}

func placeOf(g *population.Genome) int {
	definition, err := g.Definitions()[0].Value()
	if err != nil {
		panic(err)
	}
	return int(oracle(definition.(sexpr.List)[2], 0))
}

// heights scores a line.
type heights func(k int) float64

func (h heights) Evaluate(_ context.Context, genomes []*population.Genome) ([]population.Outcome, error) {
	outcomes := make([]population.Outcome, len(genomes))
	for i, g := range genomes {
		k := placeOf(g)
		outcomes[i] = population.Outcome{
			Status: population.OK, Scores: []population.Score{{Num: h(k), Den: 1}}, Features: map[string]float64{"place": float64(k)},
		}
	}
	return outcomes, nil
}

func TestSharesAreMet(t *testing.T) {
	cfg := config(t)
	cfg.Sources = []Source{{Name: GP, Share: 3}, {Name: "a", Share: 1}, {Name: "b", Bandit: true}, {Name: "c", Bandit: true}, {Name: "never"}}
	cfg.Proposer = &proposing{by: map[string]func(Ask, Round) *population.Genome{"a": pointing, "b": nothing, "c": crossing}}
	states, _ := run(t, cfg, nil, nil, &regression{})
	credit := states[len(states)-1].Credit
	total := 0
	for _, c := range credit {
		total += c.Asked
	}
	if slots := cfg.Islands * cfg.Generations * (cfg.Population - cfg.Elites); total < slots || total > slots+cfg.Islands*cfg.Generations*cfg.Elites {
		t.Errorf("%d asked for %d places", total, slots)
	}
	within := func(name string, asked int, share float64) {
		if off := math.Abs(float64(asked) - share*float64(total)); off > 4*math.Sqrt(float64(total)*share*(1-share)) {
			t.Errorf("%s was asked %d times of %d, its share is %v", name, asked, total, share)
		}
	}
	within(GP, credit[GP].Asked, 0.5)
	within("a", credit["a"].Asked, 1./6)
	within("the bandit", credit["b"].Asked+credit["c"].Asked, 1./3)
	if credit["never"].Asked != 0 || credit["b"].Answered != 0 || credit["c"].Asked <= credit["b"].Asked || credit[GP].Answered != credit[GP].Asked {
		t.Errorf("credit %v", credit)
	}
}

// One of three proposers goes towards the target, by less and less. The bandit finds out
// which, though others are placed before it, and comes back to those now and then.
func TestBanditAsksWhoHelps(t *testing.T) {
	t.Parallel()
	const target = 1_000_000
	step := func(share float64) func(Ask, Round) *population.Genome {
		return func(a Ask, _ Round) *population.Genome {
			k, rng := placeOf(a.Parent.Genome), rand.New(rand.NewSource(int64(a.Seed>>1)))
			return on(a.Parent.Genome.Grammar(), k+int(share*rng.Float64()*float64(target-k))+rng.Intn(3))
		}
	}
	names := []string{"away", "farther", "nearer"}
	for helpful := range names {
		for seed := range uint64(2) {
			sources := []Source{{Name: names[0], Bandit: true}, {Name: names[1], Bandit: true}, {Name: names[2], Bandit: true}}
			p := &proposing{by: map[string]func(Ask, Round) *population.Genome{}}
			for i, n := range names {
				p.by[n] = step(-0.3)
				if i == helpful {
					p.by[n] = step(0.02)
				}
			}
			start := line(t, 1000)
			cfg := Config{
				Grammar: start.Grammar(), Seeds: []*population.Genome{start}, Seed: seed, Islands: 2, Population: 10, Generations: 40,
				Selection: Selection{Kind: "tournament", Size: 2}, Elites: 1, Best: 5, Sources: sources, Proposer: p,
			}
			states, _ := run(t, cfg, nil, nil, heights(func(k int) float64 { return math.Abs(float64(target - k)) }))
			credit, total, early := states[len(states)-1].Credit, 0, states[1].Credit
			for i, n := range names {
				total += credit[n].Asked
				if later := credit[n].Asked - early[n].Asked; later < 3 {
					t.Errorf("seed %d: %s was asked %d times after the first generation", seed, n, later)
				}
				if early[n].Asked < 5 { // of 18 to 20, before anything is known
					t.Errorf("seed %d: the first generation asks %s %d times", seed, n, early[n].Asked)
				}
				if i != helpful && credit[n].Gain > credit[names[helpful]].Gain/10 {
					t.Errorf("seed %d: %s has %v", seed, n, credit[n])
				}
			}
			if share := float64(credit[names[helpful]].Asked) / float64(total); share < 0.7 {
				t.Errorf("seed %d: %s helps and was asked %.2f of all: %v", seed, names[helpful], share, credit)
			}
		}
	}
}

func TestGain(t *testing.T) {
	of := func(v float64) population.Outcome {
		return population.Outcome{Status: population.OK, Scores: []population.Score{{Num: v, Den: 1}}}
	}
	failed := population.Outcome{Status: population.Fuel}
	for _, c := range []struct {
		parent, child population.Outcome
		want          float64
	}{
		{of(4), of(3), 0.25}, {of(4), of(4), 0}, {of(4), of(5), 0}, {of(4), failed, 0}, {failed, of(4), 1}, {failed, failed, 0},
		{of(4), of(-40), 1}, {of(0), of(-1), 1}, {of(0), of(0), 0}, {of(-4), of(-5), 0.25},
	} {
		if got := gain(c.parent, c.child); got != c.want {
			t.Errorf("from %v to %v: %v, want %v", c.parent.Fitness(), c.child.Fitness(), got, c.want)
		}
	}
}

// stored is a state as one that stores hashes, outcomes and names would give it back.
func stored(t testing.TB, g *population.Grammar, s *State, outcomes map[string]population.Outcome) *State {
	t.Helper()
	back := func(members []Member) (all []Member) {
		for _, m := range members {
			genome, err := g.Parse([]byte(m.Genome.Source()))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, Member{genome, outcomes[genome.Hash()], m.Op, slices.Clone(m.Parents)})
		}
		return all
	}
	text, err := json.Marshal(s.Credit)
	if err != nil {
		t.Fatal(err)
	}
	r := &State{Generation: s.Generation, Best: back(s.Best), Evaluations: s.Evaluations, Stagnant: s.Stagnant, Archive: back(s.Archive)}
	for _, c := range s.Islands {
		r.Islands = append(r.Islands, back(c))
	}
	if err := json.Unmarshal(text, &r.Credit); err != nil {
		t.Fatal(err)
	}
	return r
}

// whole is signature with what sources and archive add.
func whole(s *State) string {
	text := signature(s) + "\narchive"
	for _, m := range s.Archive {
		text += fmt.Sprintf("\n%s %s %v %v", m.Genome.Hash(), m.Op, m.Parents, m.Outcome)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Credit)) {
		text += fmt.Sprintf("\n%s %+v", name, s.Credit[name])
	}
	return text
}

// described adds steps and a feature to what regression says.
func described() *altered {
	return &altered{change: func(genomes []*population.Genome, outcomes []population.Outcome) []population.Outcome {
		for i, g := range genomes {
			outcomes[i].Steps = int64(100 * g.Size())
			if g.Hash() > "1" {
				outcomes[i].Features = map[string]float64{"luck": float64(g.Hash()[1])}
			}
		}
		return outcomes
	}}
}

// sourced is a run of all kinds of sources.
func sourced(t testing.TB) Config {
	cfg := config(t)
	cfg.Population = 20
	cfg.Sources = []Source{{Name: GP, Bandit: true}, {Name: "crossing", Bandit: true}, {Name: "pointing", Share: 1}}
	cfg.Proposer = &proposing{by: map[string]func(Ask, Round) *population.Genome{"crossing": crossing, "pointing": pointing}}
	return cfg
}

func TestResumeIsExactWithSources(t *testing.T) {
	t.Parallel()
	archive := []Feature{{"size", 1, 30, 5}, {"depth", 1, 7, 3}, {"luck", '0', 'g', 4}}
	for name, change := range map[string]func(c *Config){
		"sources":             func(*Config) {},
		"archive":             func(c *Config) { c.Archive = archive },
		"novelty":             func(c *Config) { c.Selection.Kind = "novelty" },
		"archive and novelty": func(c *Config) { c.Archive, c.Selection.Kind = archive, "novelty" },
		"archive alone":       func(c *Config) { c.Archive, c.Sources, c.Proposer = archive, nil, nil },
		"novelty alone":       func(c *Config) { c.Selection.Kind, c.Sources, c.Proposer = "novelty", nil, nil },
	} {
		cfg := sourced(t)
		change(&cfg)
		cfg.Generations, cfg.Population = 7, 12
		var all []*State
		var known []map[string]population.Outcome // what was measured until then
		outcomes := map[string]population.Outcome{}
		if _, err := Run(t.Context(), cfg, nil, described(), nil, func(s *State, fresh []Member) (bool, error) {
			for _, m := range fresh {
				outcomes[m.Genome.Hash()] = m.Outcome
			}
			all, known = append(all, s), append(known, maps.Clone(outcomes))
			return false, nil
		}); err != nil || len(all) != cfg.Generations+1 {
			t.Fatalf("%s: %d generations, %v", name, len(all)-1, err)
		}
		for at, s := range all[:cfg.Generations] {
			rest, _ := run(t, cfg, stored(t, cfg.Grammar, s, outcomes), known[at], described())
			for i, r := range rest {
				if got, want := whole(r), whole(all[at+1+i]); got != want {
					t.Fatalf("%s: resumed after generation %d, generation %d is another:\n%s\nnot\n%s", name, at, r.Generation, got, want)
				}
			}
			if len(rest) != cfg.Generations-at {
				t.Fatalf("%s: resumed after generation %d, %d more", name, at, len(rest))
			}
		}
	}
}

// All asks of a generation are one call, in the order of islands and places, and each
// says what it should.
func TestRoundsAreSound(t *testing.T) {
	for _, archive := range [][]Feature{nil, {{"size", 1, 40, 40}, {"depth", 1, 8, 8}}} {
		cfg := sourced(t)
		cfg.Archive = archive
		p := cfg.Proposer.(*proposing)
		states, _ := run(t, cfg, nil, nil, described())
		if len(p.rounds) != cfg.Generations {
			t.Fatalf("%d rounds in %d generations", len(p.rounds), cfg.Generations)
		}
		seeds := map[uint64]bool{}
		for n, r := range p.rounds {
			before, after := states[n], states[n+1]
			if r.Generation != n+1 || len(r.Asks) == 0 {
				t.Fatalf("round %d is of generation %d with %d asks", n, r.Generation, len(r.Asks))
			}
			at := map[string]int{} // a genome's island, -1 where several have it
			for i, island := range before.Islands {
				for _, m := range island {
					if !slices.ContainsFunc(r.Near, func(g *population.Genome) bool { return g.Hash() == m.Genome.Hash() }) || !r.Tried(m.Genome.Hash()) {
						t.Fatal("a member is not near, or not tried")
					}
					if other, there := at[m.Genome.Hash()]; there && other != i {
						at[m.Genome.Hash()] = -1
					} else {
						at[m.Genome.Hash()] = i
					}
				}
			}
			for _, m := range before.Archive {
				if !slices.ContainsFunc(r.Near, func(g *population.Genome) bool { return g.Hash() == m.Genome.Hash() }) {
					t.Fatal("a member of the archive is not near")
				}
			}
			for _, m := range slices.Concat(after.Islands...) {
				if !r.Tried(m.Genome.Hash()) {
					t.Fatal("a genome of the generation counts as not tried once it was measured")
				}
			}
			hashes := map[string]bool{}
			for _, g := range r.Near {
				if hashes[g.Hash()] {
					t.Fatal("near names a genome twice")
				}
				hashes[g.Hash()] = true
			}
			last := 0
			for _, a := range r.Asks {
				if seeds[a.Seed] {
					t.Fatal("two asks have one seed")
				}
				seeds[a.Seed] = true
				if archive != nil {
					if !slices.ContainsFunc(before.Archive, func(m Member) bool { return m.Genome == a.Parent.Genome }) {
						t.Fatal("a parent is not of the archive")
					}
				} else if n%cfg.MigrateEvery != cfg.MigrateEvery-1 { // no migration in between
					island := at[a.Parent.Genome.Hash()]
					if island >= 0 && island < last {
						t.Fatalf("an ask of island %d after one of %d", island, last)
					}
					last = max(last, island)
				}
				if len(a.Inspirations) != inspirations || !slices.IsSortedFunc(a.Inspirations, func(a, b Member) int { return population.Compare(a.measured(), b.measured()) }) {
					t.Fatalf("%d inspirations, or not the best first", len(a.Inspirations))
				}
				distinct := map[string]bool{a.Parent.Genome.Hash(): true}
				for _, m := range a.Inspirations {
					if distinct[m.Genome.Hash()] || m.Outcome.Status != population.OK {
						t.Fatal("an inspiration is the parent, another, or a failure")
					}
					distinct[m.Genome.Hash()] = true
				}
			}
		}
	}
}

// Members that were proposed say by whom and from what; each was measured once.
func TestProposedMembers(t *testing.T) {
	cfg, eval := sourced(t), described()
	states, outcomes := run(t, cfg, nil, nil, eval)
	counts := map[string]int{}
	for i, s := range states {
		for _, m := range slices.Concat(s.Islands...) {
			counts[m.Op]++
			if m.Op != "crossing" && m.Op != "pointing" {
				continue
			}
			if len(m.Parents) != 1 || !slices.ContainsFunc(slices.Concat(states[i-1].Islands...), func(p Member) bool { return p.Genome.Hash() == m.Parents[0] }) {
				t.Fatalf("%s of %v", m.Op, m.Parents)
			}
		}
		if len(s.Archive) > 0 {
			t.Fatal("an archive that nobody asked for")
		}
	}
	credit, total := states[len(states)-1].Credit, 0
	for _, n := range eval.asked {
		total += n
	}
	if total != len(outcomes) || counts["crossing"] != credit["crossing"].Answered || counts["pointing"] != credit["pointing"].Answered || counts["crossing"]*counts["pointing"]*counts["crossover"] == 0 {
		t.Errorf("%d evaluations of %d genomes; members %v, credit %v", total, len(outcomes), counts, credit)
	}
	if credit["crossing"].Answered == credit["crossing"].Asked {
		t.Error("crossing refuses some, and was credited with all")
	}
}

// Where nothing is proposed the operators make the child; in an open grammar the parent
// stays, and costs nothing.
func TestNothingProposed(t *testing.T) {
	silent := &proposing{by: map[string]func(Ask, Round) *population.Genome{"a": nothing}}
	cfg := config(t)
	cfg.Sources, cfg.Proposer = []Source{{Name: "a", Share: 1}}, silent
	states, outcomes := run(t, cfg, nil, nil, &regression{})
	for _, m := range slices.Concat(states[len(states)-1].Islands...) {
		if !slices.Contains(append(operatorNames, "elite", "random"), m.Op) {
			t.Errorf("a member by %s", m.Op)
		}
	}
	if c := states[len(states)-1].Credit["a"]; c.Asked == 0 || c.Answered+int(c.Gain) != 0 || len(outcomes) < 500 {
		t.Errorf("credit %v, %d measured", c, len(outcomes))
	}

	start, other := line(t, 5), line(t, 9)
	cfg.Generations, cfg.Population = 5, 12
	cfg.Grammar, cfg.Seeds = start.Grammar(), []*population.Genome{start, on(start.Grammar(), placeOf(other)), start}
	for _, kind := range []string{"tournament", "lexicase", "epsilon-lexicase", "novelty"} {
		cfg.Selection.Kind = kind
		for _, archive := range [][]Feature{nil, {{"place", 0, 10, 5}}} {
			cfg.Archive = archive
			states, outcomes = run(t, cfg, nil, nil, heights(func(k int) float64 { return float64(k) }))
			last := states[len(states)-1]
			if len(states) != cfg.Generations+1 || len(outcomes) != 2 || last.Evaluations != 2 {
				t.Fatalf("%s: %d generations, %d measured", kind, len(states)-1, len(outcomes))
			}
			ops := map[string]int{}
			for _, m := range states[0].Islands[0] {
				ops[fmt.Sprint(m.Op, placeOf(m.Genome))]++
			}
			if ops["seed5"] != cfg.Population-1 || ops["seed9"] != 1 {
				t.Errorf("%s: the first cohort is %v", kind, ops)
			}
			for _, m := range last.Islands[0] {
				if m.Op != "elite" && (m.Op != kept || m.Parents[0] != m.Genome.Hash()) {
					t.Errorf("%s: a member by %s of %v", kind, m.Op, m.Parents)
				}
			}
		}
	}
}

// broken is a proposer that answers what it likes.
type broken func(r Round) ([]*population.Genome, error)

func (b broken) Propose(_ context.Context, r Round) ([]*population.Genome, error) { return b(r) }

func TestProposerIsHeldToItsContract(t *testing.T) {
	down := errors.New("no more money")
	list := func(r Round, g ...*population.Genome) ([]*population.Genome, error) {
		return append(g, make([]*population.Genome, len(r.Asks)-len(g))...), nil
	}
	fresh := func(r Round) *population.Genome { return on(grammar(t), 1000+r.Generation) }
	for want, p := range map[string]broken{
		"genomes for":       func(r Round) ([]*population.Genome, error) { return nil, nil },
		"proposer a is not": func(r Round) ([]*population.Genome, error) { return list(r, nil, r.Asks[0].Parent.Genome) },
		"is not new":        func(r Round) ([]*population.Genome, error) { return list(r, fresh(r), fresh(r)) },
		"no more money":     func(r Round) ([]*population.Genome, error) { return nil, down },
	} {
		cfg := config(t)
		cfg.Sources, cfg.Proposer = []Source{{Name: "a", Share: 1}}, p
		s, err := Run(t.Context(), cfg, nil, &regression{}, nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || s.Generation != 0 || s.Credit != nil {
			t.Errorf("got %v after generation %d; want an error that says %q", err, s.Generation, want)
		}
	}
	// A genome that an island is about to measure is not new either.
	cfg, measured := config(t), map[string]bool{}
	cfg.Sources = []Source{{Name: GP, Share: 1}, {Name: "a", Share: 1}}
	cfg.Proposer = broken(func(r Round) ([]*population.Genome, error) {
		return list(r, r.Near[slices.IndexFunc(r.Near, func(g *population.Genome) bool { return !measured[g.Hash()] })])
	})
	if _, err := Run(t.Context(), cfg, nil, &regression{}, nil, func(_ *State, fresh []Member) (bool, error) {
		for _, m := range fresh {
			measured[m.Genome.Hash()] = true
		}
		return false, nil
	}); err == nil || !strings.Contains(err.Error(), "is not new") {
		t.Errorf("got %v", err)
	}
}

// In a language of few genomes, what the operators make where nothing was proposed is
// none of those that were.
func TestCohortsHaveNoTwins(t *testing.T) {
	cfg := sourced(t)
	cfg.Grammar.MaxSize, cfg.Grammar.MaxDepth = 3, 2
	cfg.Proposer.(*proposing).by["pointing"] = func(a Ask, r Round) *population.Genome {
		if a.Seed%2 == 0 {
			return nil
		}
		return pointing(a, r)
	}
	twins := 0
	for seed := range uint64(10) {
		cfg.Seed = seed
		states, _ := run(t, cfg, nil, nil, &regression{})
		for _, s := range states {
			for _, island := range s.Islands {
				by := map[string][]string{}
				for _, m := range island {
					by[m.Genome.Hash()] = append(by[m.Genome.Hash()], m.Op)
				}
				for _, ops := range by {
					if len(ops) > 1 {
						twins++
						if !slices.Contains(ops, "random") { // which gives up after some tries
							t.Fatalf("generation %d has a genome twice, by %v", s.Generation, ops)
						}
					}
				}
			}
		}
	}
	t.Logf("%d twins where random gave up", twins)
}

func TestSourcesAreChecked(t *testing.T) {
	open := grammar(t)
	open.Open = true
	a, gp := Source{Name: "a", Share: 1}, Source{Name: GP, Share: 1}
	for want, change := range map[string]func(c *Config){
		"source 2 has no name":      func(c *Config) { c.Sources = []Source{a, {Share: 1}} },
		"a is given twice":          func(c *Config) { c.Sources = []Source{a, a} },
		"means something else":      func(c *Config) { c.Sources = []Source{{Name: "elite", Share: 1}} },
		"share -1":                  func(c *Config) { c.Sources = []Source{{Name: "a", Share: -1}, gp} },
		"share NaN":                 func(c *Config) { c.Sources = []Source{{Name: "a", Share: math.NaN()}, gp} },
		"share and is of":           func(c *Config) { c.Sources = []Source{{Name: "a", Share: 1, Bandit: true}} },
		"add up to 0":               func(c *Config) { c.Sources = []Source{{Name: "a"}} },
		"sources are credited":      func(c *Config) { c.Sources, c.Moving = []Source{a}, true },
		"there are no sources":      func(c *Config) { c.Grammar = open },
		"cannot vary an open":       func(c *Config) { c.Grammar, c.Sources = open, []Source{a, gp} },
		`"random" cannot draw`:      func(c *Config) { c.Grammar, c.Sources, c.Control = open, []Source{a}, Random },
		`"best-of-n" cannot draw`:   func(c *Config) { c.Grammar, c.Sources, c.Control = open, []Source{a}, BestOfN },
		"feature 1 of the archive":  func(c *Config) { c.Archive = []Feature{{"", 0, 1, 2}} },
		"size of the archive is":    func(c *Config) { c.Archive = []Feature{{"size", 0, 1, 2}, {"size", 0, 1, 2}} },
		"low must be below high":    func(c *Config) { c.Archive = []Feature{{"size", 1, 1, 2}} },
		"from NaN":                  func(c *Config) { c.Archive = []Feature{{"size", math.NaN(), 1, 2}} },
		"both finite":               func(c *Config) { c.Archive = []Feature{{"size", -math.MaxFloat64, math.MaxFloat64, 2}} },
		"in 0 cells":                func(c *Config) { c.Archive = []Feature{{"size", 0, 1, 0}} },
		"more than 10000 cells":     func(c *Config) { c.Archive = []Feature{{"size", 0, 1, 101}, {"depth", 0, 1, 100}} },
		"an archive compares":       func(c *Config) { c.Archive, c.Moving = []Feature{{"size", 0, 1, 2}}, true },
		"selection size 0":          func(c *Config) { c.Selection = Selection{Kind: "novelty"} },
		"has none: set Proposer":    func(c *Config) { c.Sources = []Source{a} },
		"open grammar: a seed":      func(c *Config) { c.Grammar, c.Sources, c.Proposer = open, []Source{a}, &proposing{} },
		"all operator weights are ": func(c *Config) { c.Operators = Operators{} },
	} {
		cfg := config(t)
		change(&cfg)
		if _, err := Run(t.Context(), cfg, nil, &regression{}, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want an error that says %q", err, want)
		}
	}
	cfg := config(t)
	cfg.Archive = []Feature{{"size", 0, 1, 100}, {"depth", 0, 1, 100}}
	cfg.Sources = []Source{gp, {Name: "b", Bandit: true}}
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
	// A control has no use for sources.
	cfg.Control = Random
	states, _ := run(t, cfg, nil, nil, &regression{})
	if states[len(states)-1].Credit != nil {
		t.Error("a control credits sources")
	}
}
