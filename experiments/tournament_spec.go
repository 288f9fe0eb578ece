package experiments

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"jird/orchestrator"
	"jird/population"
)

// TournamentSpec is one tournament. Its JSON, with keys in this order, is what its
// identity is made from; it rebuilds the tournament without the file.
type TournamentSpec struct {
	Name    string     `json:"name"`
	Runtime string     `json:"runtime"`
	Seed    uint64     `json:"seed"`
	Mode    string     `json:"mode"`
	Rank    string     `json:"rank"`
	Sides   []SideSpec `json:"sides"`
	Swiss   bool       `json:"swiss,omitempty"` // else round-robin, as in all specs before there was a choice
	Seeds   int        `json:"seeds"`
	Best    float64    `json:"best"`      // points that no match can exceed; 0: not said
	Evolve  *Coevolve  `json:"evolve"`    // of mode coevolve, else null
	Promote *Promote   `json:"promotion"` // null: the champion is not handed over
	Limits  Limits     `json:"limits"`

	Agent   string `json:"-"` // folder, resolved
	Shadows int    `json:"-"`

	place Fault
}

// Promote says how the first side's champion is judged.
type Promote struct {
	Alpha  float64 `json:"alpha"`
	Effect float64 `json:"effect"`
	Power  float64 `json:"power"`
	Cases  int     `json:"cases"` // most pairs of matches
}

// Coevolve says how two sides are evolved against each other.
type Coevolve struct {
	Search    Search `json:"search"`
	Opponents int    `json:"opponents"`       // of the other side's last generation, that each genome meets
	Archive   int    `json:"archive"`         // of its earlier champions
	Seeds     int    `json:"seeds"`           // matches with each
	Finalists int    `json:"finalists"`       // champions of each side that play the tournament
	Drawn     bool   `json:"drawn,omitempty"` // the control: the second side is drawn at random, not evolved
}

// SideSpec is what plays on one side. An open side's entrants are any Scheme, so it has
// neither definitions nor a grammar.
type SideSpec struct {
	Name     string        `json:"name"`
	Open     bool          `json:"open,omitempty"`
	Evolve   Evolve        `json:"evolve"`
	Grammar  Grammar       `json:"grammar"`
	Entrants []EntrantSpec `json:"entrants"`
	Finals   []EntrantSpec `json:"finals,omitempty"` // entrants who have no part in the evolution
	HeldOut  []EntrantSpec `json:"held_out"`

	archives []earlier // whose genomes enter too
}

// EntrantSpec is named code; Source is its canonical definitions.
type EntrantSpec struct {
	Name   string `json:"name"`
	Source string `json:"source"`

	from *earlier // where the source is to be taken from; nil: it is here
}

// LoadTournament reads a tournament's file. The error is a *SpecError with all faults.
func LoadTournament(path string) (*TournamentSpec, error) {
	r, root := readRoot(path, "`jird init DIR --example dilemma` makes a tournament to start from")
	if root == nil {
		return nil, r.err()
	}
	d := defaults()
	s := &TournamentSpec{Runtime: "auto", Seed: 1, Mode: "roster", Rank: orchestrator.ByWins, Seeds: 20, Limits: d.Limits, Shadows: d.Shadows}
	r.object(root, "the tournament", map[string]field{
		"name": r.text(&s.Name), "runtime": r.oneOf(&s.Runtime, "auto", "gambit", "gerbil"),
		"agent": r.agent(&s.Agent, &s.place), "seed": r.seed(&s.Seed, 1<<62),
		"mode": r.oneOf(&s.Mode, "roster", "coevolve", "gauntlet"), "best": r.real(&s.Best, 0, 1e9), "rank": r.oneOf(&s.Rank, orchestrator.ByPoints, orchestrator.ByWins),
		"shadows": r.integer(&s.Shadows, 1, 100_000),
		"limits":  func(n ast.Node, name string) { r.object(n, name, r.limitFields(&s.Limits)) },
		"matches": func(n ast.Node, name string) {
			pairing := "round-robin"
			r.object(n, name, map[string]field{"seeds": r.integer(&s.Seeds, 1, 100_000), "pairing": r.oneOf(&pairing, pairing, "swiss")})
			s.Swiss = pairing == "swiss"
		},
		"evolve": func(n ast.Node, name string) {
			e := &Coevolve{Search: d.Search, Opponents: 8, Archive: 4, Seeds: 1, Finalists: 8}
			e.Search.Generations = 30
			spec, control := Spec{Search: e.Search}, "none"
			r.object(n, name, map[string]field{
				"search":    func(n ast.Node, name string) { r.object(n, name, r.searchFields(&spec)) },
				"opponents": r.integer(&e.Opponents, 1, 10_000), "archive": r.integer(&e.Archive, 0, 10_000),
				"seeds": r.integer(&e.Seeds, 1, 10_000), "finalists": r.integer(&e.Finalists, 1, 1000),
				"control": r.oneOf(&control, control, "drawn"),
			})
			e.Search, e.Drawn, s.Evolve = spec.Search, control == "drawn", e
		},
		"promotion": func(n ast.Node, name string) {
			p := &Promote{Alpha: d.Alpha, Effect: d.Effect, Power: d.Power, Cases: 500}
			r.object(n, name, map[string]field{
				"alpha": r.real(&p.Alpha, 0.0001, 0.5), "effect": r.real(&p.Effect, 0.001, 1), "power": r.real(&p.Power, 0.5, 0.999),
				"cases": r.integer(&p.Cases, 10, 100_000),
			})
			s.Promote = p
		},
		"sides": func(n ast.Node, name string) {
			for _, p := range r.pairs(n, name) {
				s.Sides = append(s.Sides, r.side(p))
			}
		},
	})
	r.completeTournament(root, s)
	if err := r.err(); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(s.Agent) {
		s.Agent = filepath.Join(filepath.Dir(path), s.Agent)
	}
	return s, nil
}

// side reads one side; its entrants are read once its grammar is known.
func (r *reader) side(p pair) SideSpec {
	s := SideSpec{Name: p.key, Grammar: defaults().Grammar}
	entrants := map[string]ast.Node{}
	later := func(n ast.Node, name string) { entrants[name] = n }
	fields := r.evolveFields(&s.Evolve)
	fields["grammar"] = func(n ast.Node, name string) { r.object(n, name, r.grammarFields(&s.Grammar)) }
	fields["entrants"], fields["finals"], fields["held-out"] = later, later, later
	fields["archive"] = r.archives(&s.archives)
	ofGrammar := r.noted(fields, "file", "definitions", "grammar")
	trust := "grammar"
	fields["trust"] = r.oneOf(&trust, "grammar", "open")
	before := len(r.faults)
	r.object(p.value, "side "+p.key, fields)
	if s.Open = trust == "open"; s.Open {
		for key, n := range ofGrammar {
			r.fault(n, "side %s is open, so it has no %s: its entrants are Scheme and define what the referee asks for; take it out, or trust: open", p.key, key)
		}
	}
	if len(r.faults) > before {
		return s
	}
	read, err := s.reading()
	if err != nil {
		for _, line := range split(err) {
			r.fault(r.about(line, p.node), "%s", line)
		}
		return s
	}
	s.Entrants = r.entrants(entrants["entrants"], "entrants", read)
	s.Finals = r.entrants(entrants["finals"], "finals", read)
	s.HeldOut = r.entrants(entrants["held-out"], "held-out", read)
	return s
}

// reading reads what an entrant of a side is written as.
type reading func(text []byte) (orchestrator.Code, error)

func (s SideSpec) reading() (reading, error) {
	grammar, err := s.grammar()
	if err == nil && grammar != nil {
		err = grammar.Check()
	}
	return func(text []byte) (orchestrator.Code, error) { return orchestrator.ReadCode(grammar, text) }, err
}

// noted makes some of the fields note where they stand, as they are read.
func (r *reader) noted(fields map[string]field, keys ...string) map[string]ast.Node {
	at := map[string]ast.Node{}
	for _, key := range keys {
		read := fields[key]
		fields[key] = func(n ast.Node, name string) {
			at[key] = r.places[key]
			read(n, name)
		}
	}
	return at
}

// archives reads one id of a tournament, or a list of them.
func (r *reader) archives(to *[]earlier) field {
	one := func(n ast.Node) {
		from := earlier{kind: "tournament", place: r.at(n)}
		r.text(&from.id)(n, "archive")
		*to = append(*to, from)
	}
	return func(n ast.Node, name string) {
		if _, many := n.(*ast.SequenceNode); many {
			r.list(one)(n, name)
		} else {
			one(n)
		}
	}
}

// entrants reads who plays.
func (r *reader) entrants(n ast.Node, name string, read reading) (all []EntrantSpec) {
	if n == nil {
		return nil
	}
	for _, p := range r.pairs(n, name) {
		var text, path string
		before := len(r.faults)
		if r.text(&text)(p.value, p.key); len(r.faults) > before {
			continue
		}
		if kind, id, found := strings.Cut(text, " "); found && (kind == "run" || kind == "tournament") {
			id, side, _ := strings.Cut(strings.TrimSpace(id), " ")
			all = append(all, EntrantSpec{Name: p.key, from: &earlier{kind, id, strings.TrimSpace(side), r.at(p.value)}})
			continue
		}
		if file, found := strings.CutPrefix(text, "file "); found {
			path = file
			if !filepath.IsAbs(file) {
				file = filepath.Join(filepath.Dir(r.file), file)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				r.fault(p.value, "%s: %v", p.key, err)
				continue
			}
			text = string(data)
		}
		code, err := read([]byte(text))
		if err != nil {
			r.fault(p.value, "%s: %v", cmp.Or(path, p.key), err)
			continue
		}
		all = append(all, EntrantSpec{Name: p.key, Source: code.Source()})
	}
	return all
}

// completeTournament checks what no single key can.
func (r *reader) completeTournament(root ast.Node, s *TournamentSpec) {
	for _, need := range []struct {
		what    string
		missing bool
	}{{"name", s.Name == ""}, {"agent", s.Agent == ""}, {"sides", len(s.Sides) == 0}} {
		if need.missing && !r.anyFaulty(need.what) {
			r.fault(root, "%s is missing; see the dilemma example for what it says", need.what)
		}
	}
	if s.Name != "" && !namePattern.MatchString(s.Name) {
		r.fault(root, "name %q must be of letters, digits, - and _: it names tournaments and refs", s.Name)
	}
	if len(s.Sides) > 2 {
		r.fault(r.places["sides"], "sides has %d sides; one means that all play all, two play against each other", len(s.Sides))
	}
	if r.anyFaulty("sides") || len(r.faults) > 0 {
		return
	}
	names := map[string]bool{}
	for _, side := range s.Sides {
		if least, n := 3-len(s.Sides), len(side.Entrants)+len(side.Finals); s.Mode != "gauntlet" && len(side.archives) == 0 && n < least {
			r.fault(r.places["sides"], "side %s has %d entrants; it takes %d or more for a match", side.Name, n, least)
		}
		for _, e := range slices.Concat(side.Entrants, side.Finals, side.HeldOut) {
			if names[e.Name] {
				r.fault(r.places["sides"], "two entrants are called %s; the standings tell them apart by name", e.Name)
			}
			names[e.Name] = true
		}
	}
	if (s.Promote != nil || s.Mode == "coevolve") && s.Rank == orchestrator.ByPoints && s.Best <= 0 {
		r.fault(root, "best is missing: the points that no match can exceed, above zero")
	}
	if s.Mode == "gauntlet" {
		r.completeGauntlet(s, names)
	}
	if s.Promote != nil && s.Mode != "gauntlet" {
		r.completePromotion(s)
	}
	if s.Swiss && len(s.Sides) != 1 {
		r.fault(r.places["pairing"], "pairing swiss is for one side, in which anybody may meet anybody; two sides meet round-robin")
	}
	if s.Swiss && s.Seeds < LeastSwiss {
		r.fault(r.places["seeds"], "swiss takes %d rounds or more: after one, standing is luck", LeastSwiss)
	}
	r.completeEvolve(root, s)
}

// LeastSwiss are the fewest rounds by Swiss: in one, somebody may sit out and have no match.
const LeastSwiss = 2

func (r *reader) completeEvolve(root ast.Node, s *TournamentSpec) {
	if (s.Mode == "coevolve") != (s.Evolve != nil) {
		r.fault(root, "mode coevolve and the key evolve go together: what is evolved, and how")
	}
	if s.Evolve == nil {
		return
	}
	for _, side := range s.Sides {
		if side.Open {
			r.fault(r.places["evolve"], "side %s is open, and only genomes of a grammar are evolved; play it in mode roster, or give it a grammar", side.Name)
			return
		}
	}
	if len(s.Sides) != 2 {
		r.fault(r.places["sides"], "two sides are evolved against each other, not %d", len(s.Sides))
	}
	c := s.Evolve.Search
	if c.Generations < 1 || c.Budget != 0 || c.Evaluations != 0 || c.Steps != 0 || c.Stagnation != 0 || c.Target != nil {
		r.fault(r.places["evolve"], "an evolution of two sides ends after search.generations, 1 or more, and by nothing else")
	}
	if c.Control != "none" {
		r.fault(r.places["control"], "search.control is for runs; the control of two sides is evolve.control: drawn")
	}
	for _, line := range split(searchConfig(c, nil, 0).Check()) {
		r.fault(r.about(line, root), "%s", line)
	}
}

// completeGauntlet checks that there is one candidate, a live policy and an archive.
func (r *reader) completeGauntlet(s *TournamentSpec, names map[string]bool) {
	at := r.places["sides"]
	if len(s.Sides) != 2 {
		r.fault(at, "a gauntlet has two sides, the candidate's and the archive's, not %d", len(s.Sides))
		return
	}
	candidate, archive := s.Sides[0], s.Sides[1]
	if len(candidate.Entrants) != 1 || len(candidate.Finals)+len(candidate.HeldOut)+len(candidate.archives) > 0 {
		r.fault(at, "side %s has %d entrants, %d finals, %d held out and %d archives; in a gauntlet the first side has one entrant, the candidate", candidate.Name, len(candidate.Entrants), len(candidate.Finals), len(candidate.HeldOut), len(candidate.archives))
	}
	if candidate.Evolve.File == "" {
		r.fault(at, "side %s has no file; say where the live policy stands, which the candidate is compared with", candidate.Name)
	}
	if len(archive.Entrants)+len(archive.Finals)+len(archive.HeldOut)+len(archive.archives) == 0 {
		r.fault(at, "side %s is empty; name the archive that candidate and live policy play", archive.Name)
	}
	if names[liveName] {
		r.fault(at, "an entrant is called %s, as the live policy is in a gauntlet; give it another name", liveName)
	}
}

func (r *reader) completePromotion(s *TournamentSpec) {
	at := r.places["promotion"]
	if s.Sides[0].Open {
		r.fault(at, "side %s is open, and only a genome of a grammar can become live; take promotion out, or give the side a grammar", s.Sides[0].Name)
	} else if s.Sides[0].Evolve.File == "" {
		r.fault(at, "side %s has no file, so its champion could not become live; say where its definitions stand", s.Sides[0].Name)
	}
	if opponents := s.Sides[len(s.Sides)-1]; len(opponents.HeldOut) == 0 {
		r.fault(at, "side %s holds nobody out, and a champion is judged by opponents that it never met", opponents.Name)
	}
}

// JSON is the spec's effective form, the same for the same meaning.
func (s *TournamentSpec) JSON() (text, hash string) {
	b, err := json.Marshal(s)
	if err != nil {
		panic("experiments: a tournament without JSON: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return string(b), hex.EncodeToString(sum[:])
}

// grammar is what the side's genomes are of; nil if it is open.
func (s SideSpec) grammar() (*population.Grammar, error) {
	if s.Open {
		return nil, nil
	}
	return grammarFrom(s.Evolve, s.Grammar)
}

// Plan makes the spec a plan, but for its record, its workers and the runtime.
func (s *TournamentSpec) Plan() (p orchestrator.TournamentPlan, err error) {
	p = orchestrator.TournamentPlan{
		Seeds: s.Seeds, Swiss: s.Swiss, Gauntlet: s.Mode == "gauntlet", Rank: s.Rank, Best: s.Best, Fuel: int64(s.Limits.Fuel), Shadows: s.Shadows,
		Sandbox: s.Limits.sandbox(),
	}
	if s.Promote != nil {
		p.Promotion = &orchestrator.Promotion{
			Evolved: s.Sides[0].Evolve.File, Cases: s.Promote.Cases, Alpha: s.Promote.Alpha, Effect: s.Promote.Effect, Power: s.Promote.Power,
		}
	}
	for i, side := range s.Sides {
		p.SideNames = append(p.SideNames, side.Name)
		grammar, err := side.grammar()
		if err != nil {
			return p, err
		}
		p.Grammars = append(p.Grammars, grammar)
		first := len(side.Entrants)
		for k, e := range slices.Concat(side.Entrants, side.Finals, side.HeldOut) {
			code, err := p.Read(i, []byte(e.Source))
			if err != nil {
				return p, fmt.Errorf("entrant %s: %w", e.Name, err)
			}
			late, heldOut := k >= first, k >= first+len(side.Finals) && !p.Gauntlet
			p.Entrants = append(p.Entrants, orchestrator.Entrant{Name: e.Name, Side: i, Late: late, HeldOut: heldOut, Code: code})
		}
	}
	if e := s.Evolve; e != nil {
		p.Evolution = &orchestrator.Evolution{Opponents: e.Opponents, Archive: e.Archive, Seeds: e.Seeds, Finalists: e.Finalists, Drawn: e.Drawn}
		for i := range p.Evolution.Search {
			c := searchConfig(e.Search, p.Grammars[i], 2*s.Seed+uint64(i))
			c.Moving, c.Best = true, e.Opponents
			for _, entrant := range p.Entrants {
				if entrant.Side == i && !entrant.Late {
					c.Seeds = append(c.Seeds, entrant.Code.(*population.Genome))
				}
			}
			p.Evolution.Search[i] = c
		}
	}
	return p, nil
}
