package experiments

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/population"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots/sexpr"
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
	Opponents int    `json:"opponents"` // of the other side's last generation, that each genome meets
	Archive   int    `json:"archive"`   // of its earlier champions
	Seeds     int    `json:"seeds"`     // matches with each
	Finalists int    `json:"finalists"` // champions of each side that play the tournament
}

// SideSpec is what plays on one side.
type SideSpec struct {
	Name     string        `json:"name"`
	Evolve   Evolve        `json:"evolve"`
	Grammar  Grammar       `json:"grammar"`
	Entrants []EntrantSpec `json:"entrants"`
	HeldOut  []EntrantSpec `json:"held_out"`
}

// EntrantSpec is a named genome; Source is its canonical definitions.
type EntrantSpec struct {
	Name   string `json:"name"`
	Source string `json:"source"`
}

// LoadTournament reads a tournament's file. The error is a *SpecError with all faults.
func LoadTournament(path string) (*TournamentSpec, error) {
	r := &reader{file: path, faulty: map[string]bool{}, places: map[string]ast.Node{}}
	data, err := readFile(path)
	if err != nil {
		r.fault(nil, "cannot be read (%v); `jird init DIR --example dilemma` makes a tournament to start from", err)
		return nil, &SpecError{r.faults}
	}
	root := r.parse(data)
	if root == nil {
		return nil, &SpecError{r.faults}
	}
	d := defaults()
	s := &TournamentSpec{Runtime: "auto", Seed: 1, Mode: "roster", Rank: orchestrator.ByWins, Seeds: 20, Limits: d.Limits, Shadows: d.Shadows}
	seed := 0
	r.object(root, "the tournament", map[string]field{
		"name": r.text(&s.Name), "runtime": r.oneOf(&s.Runtime, "auto", "gambit", "gerbil"),
		"agent": func(n ast.Node, name string) {
			r.text(&s.Agent)(n, name)
			s.place = Fault{File: path, Line: n.GetToken().Position.Line, Column: n.GetToken().Position.Column}
		},
		"seed": func(n ast.Node, name string) {
			r.integer(&seed, 0, 1<<62)(n, name)
			s.Seed = uint64(seed)
		},
		"mode": r.oneOf(&s.Mode, "roster", "coevolve"), "best": r.real(&s.Best, 0, 1e9), "rank": r.oneOf(&s.Rank, orchestrator.ByPoints, orchestrator.ByWins),
		"shadows": r.integer(&s.Shadows, 1, 100_000),
		"limits":  func(n ast.Node, name string) { r.object(n, name, r.limitFields(&s.Limits)) },
		"matches": func(n ast.Node, name string) {
			r.object(n, name, map[string]field{"seeds": r.integer(&s.Seeds, 1, 100_000)})
		},
		"evolve": func(n ast.Node, name string) {
			e := &Coevolve{Search: d.Search, Opponents: 8, Archive: 4, Seeds: 1, Finalists: 8}
			e.Search.Generations = 30
			spec := Spec{Search: e.Search}
			r.object(n, name, map[string]field{
				"search":    func(n ast.Node, name string) { r.object(n, name, r.searchFields(&spec)) },
				"opponents": r.integer(&e.Opponents, 1, 10_000), "archive": r.integer(&e.Archive, 0, 10_000),
				"seeds": r.integer(&e.Seeds, 1, 10_000), "finalists": r.integer(&e.Finalists, 1, 1000),
			})
			e.Search, s.Evolve = spec.Search, e
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
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b Fault) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
		return nil, &SpecError{r.faults}
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
	fields["entrants"], fields["held-out"] = later, later
	before := len(r.faults)
	r.object(p.value, "side "+p.key, fields)
	if len(r.faults) > before {
		return s
	}
	grammar, err := grammarFrom(s.Evolve, s.Grammar)
	if err == nil {
		err = grammar.Check()
	}
	if err != nil {
		for _, line := range split(err) {
			r.fault(r.about(line, p.node), "%s", line)
		}
		return s
	}
	s.Entrants, s.HeldOut = r.entrants(entrants["entrants"], "entrants", grammar), r.entrants(entrants["held-out"], "held-out", grammar)
	return s
}

func (r *reader) entrants(n ast.Node, name string, grammar *population.Grammar) (all []EntrantSpec) {
	if n == nil {
		return nil
	}
	for _, p := range r.pairs(n, name) {
		var text string
		before := len(r.faults)
		if r.text(&text)(p.value, p.key); len(r.faults) > before {
			continue
		}
		if file, found := strings.CutPrefix(text, "file "); found {
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
		g, err := grammar.Parse([]byte(text))
		if err != nil {
			r.fault(p.value, "%s: %v", p.key, err)
			continue
		}
		all = append(all, EntrantSpec{p.key, g.Source()})
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
		if least := 3 - len(s.Sides); len(side.Entrants) < least {
			r.fault(r.places["sides"], "side %s has %d entrants; it takes %d or more for a match", side.Name, len(side.Entrants), least)
		}
		for _, e := range slices.Concat(side.Entrants, side.HeldOut) {
			if names[e.Name] {
				r.fault(r.places["sides"], "two entrants are called %s; the standings tell them apart by name", e.Name)
			}
			names[e.Name] = true
		}
	}
	if (s.Promote != nil || s.Mode == "coevolve") && s.Rank == orchestrator.ByPoints && s.Best <= 0 {
		r.fault(root, "best is missing: the points that no match can exceed, above zero")
	}
	if s.Promote != nil {
		r.completePromotion(s)
	}
	r.completeEvolve(root, s)
}

func (r *reader) completeEvolve(root ast.Node, s *TournamentSpec) {
	if (s.Mode == "coevolve") != (s.Evolve != nil) {
		r.fault(root, "mode coevolve and the key evolve go together: what is evolved, and how")
	}
	if s.Evolve == nil {
		return
	}
	if len(s.Sides) != 2 {
		r.fault(r.places["sides"], "two sides are evolved against each other, not %d", len(s.Sides))
	}
	c := s.Evolve.Search
	if c.Generations < 1 || c.Budget != 0 || c.Evaluations != 0 || c.Stagnation != 0 || c.Target != nil || c.Control != "none" {
		r.fault(r.places["evolve"], "an evolution of two sides ends after search.generations, 1 or more, and by nothing else")
	}
	for _, line := range split(searchConfig(c, nil, 0).Check()) {
		r.fault(r.about(line, root), "%s", line)
	}
}

func (r *reader) completePromotion(s *TournamentSpec) {
	at := r.places["promotion"]
	if s.Sides[0].Evolve.File == "" {
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

// Plan makes the spec a plan, but for its record, its workers and the runtime.
func (s *TournamentSpec) Plan() (p orchestrator.TournamentPlan, err error) {
	p = orchestrator.TournamentPlan{
		Seeds: s.Seeds, Rank: s.Rank, Best: s.Best, Fuel: int64(s.Limits.Fuel), Shadows: s.Shadows,
		Sandbox: sandbox.Options{
			Policy: isolation.Policy{Level: isolation.Full, Heap: s.Limits.Heap, OpenFiles: s.Limits.OpenFiles, Workspace: s.Limits.Workspace},
			Wall:   s.Limits.Wall, Output: int(s.Limits.Output),
		},
	}
	if s.Promote != nil {
		p.Promotion = &orchestrator.Promotion{
			Evolved: s.Sides[0].Evolve.File, Cases: s.Promote.Cases, Alpha: s.Promote.Alpha, Effect: s.Promote.Effect, Power: s.Promote.Power,
		}
	}
	for i, side := range s.Sides {
		p.SideNames = append(p.SideNames, side.Name)
		grammar, err := grammarFrom(side.Evolve, side.Grammar)
		if err != nil {
			return p, err
		}
		p.Grammars = append(p.Grammars, grammar)
		for k, e := range slices.Concat(side.Entrants, side.HeldOut) {
			g, err := grammar.Parse([]byte(e.Source))
			if err != nil {
				return p, fmt.Errorf("entrant %s: %w", e.Name, err)
			}
			p.Entrants = append(p.Entrants, orchestrator.Entrant{Name: e.Name, Side: i, HeldOut: k >= len(side.Entrants), Genome: g})
		}
	}
	if e := s.Evolve; e != nil {
		p.Evolution = &orchestrator.Evolution{Opponents: e.Opponents, Archive: e.Archive, Seeds: e.Seeds, Finalists: e.Finalists}
		for i := range p.Evolution.Search {
			c := searchConfig(e.Search, p.Grammars[i], 2*s.Seed+uint64(i))
			c.Moving, c.Best = true, e.Opponents
			for _, entrant := range p.Entrants {
				if entrant.Side == i && !entrant.HeldOut {
					c.Seeds = append(c.Seeds, entrant.Genome)
				}
			}
			p.Evolution.Search[i] = c
		}
	}
	return p, nil
}

// Tournament plays a new tournament of a spec, and returns how it ended.
func (l *Lab) Tournament(ctx context.Context, s *TournamentSpec, o Options, after func(what string, n, of int)) (*orchestrator.Standings, error) {
	p, err := s.Plan()
	if err != nil {
		return nil, err
	}
	if err := l.completeTournament(ctx, &p, s.Runtime, o); err != nil {
		return nil, err
	}
	agent, err := l.Agent(&Spec{Name: s.Name, Agent: s.Agent, place: s.place})
	if err != nil {
		return nil, err
	}
	image, err := l.Vault.Get(agent)
	if err != nil {
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
	l.Say("tournament %s: %d entrants, %d rounds, %d shadows, %d workers, seed %d", r.ID, len(p.Entrants), p.Seeds, p.Shadows, p.Workers, r.Seed)
	return l.play(ctx, p, after)
}

// newTournament gives a tournament the id of the first repeat that nobody has begun.
func (l *Lab) newTournament(r *orchestrator.TournamentRecord) (unlock func(), err error) {
	for ; ; r.Repeat++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d/%s/%d", r.SpecHash, r.Agent, r.Seed, r.Runtime, r.Repeat))
		r.ID = r.Name + "-t-" + hex.EncodeToString(sum[:6])
		unlock, err := l.lockRun(r.ID)
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_, err = l.Ledger.LoadTournament(r.ID)
		if err != nil && errors.Is(err, ledger.ErrNoRun) {
			return unlock, nil
		}
		unlock()
		if err != nil {
			return nil, err
		}
	}
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
	if err := l.decideChampion(ctx, p, s); err != nil {
		return nil, err
	}
	s.Seconds = time.Since(began).Seconds()
	return s, nil
}

// decideChampion hands the first side's champion over, if the tournament says so, and
// puts into the standings what came of it.
func (l *Lab) decideChampion(ctx context.Context, p orchestrator.TournamentPlan, s *orchestrator.Standings) error {
	if p.Promotion == nil {
		return nil
	}
	if e, err := l.Ledger.Explain(p.Record.ID, 1); err != nil || e.Decided == nil {
		i := slices.IndexFunc(p.Entrants, func(e orchestrator.Entrant) bool { return e.Name == s.Champion.Name })
		if err := orchestrator.Gauntlet(ctx, p, l.deps(Options{}), p.Entrants[i].Genome); err != nil {
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
	p.Entrants, err = l.Ledger.Entrants(id, p.Grammars)
	for i := given; i < len(p.Entrants); i++ {
		p.Entrants[i].Finalist, p.Evolved = true, true
	}
	return p, s.Runtime, err
}

// recorded makes the plan of a recorded tournament again.
func (l *Lab) recorded(ctx context.Context, id string, o Options) (p orchestrator.TournamentPlan, err error) {
	p, runtime, err := l.tournament(id)
	if err != nil {
		return p, err
	}
	if err := l.completeTournament(ctx, &p, runtime, o); err != nil {
		return p, err
	}
	if now := p.Sandbox.Runtime.String(); now != p.Record.Runtime {
		return p, fmt.Errorf("tournament %s was made with %s, here is %s: matches need not end the same", id, p.Record.Runtime, now)
	}
	return p, nil
}

// Standings reckons up what the ledger holds of a tournament.
func (l *Lab) Standings(id string) (*orchestrator.Standings, error) {
	p, _, err := l.tournament(id)
	if err != nil {
		return nil, err
	}
	played, rounds, err := l.Ledger.Played(id)
	if err != nil {
		return nil, err
	}
	if rounds == 0 {
		return nil, fmt.Errorf("tournament %s has no whole round yet; go on with: jird resume %s", id, id)
	}
	s, err := p.Standings(played)
	if err == nil && p.Promotion != nil {
		err = l.addDecision(s)
	}
	return s, err
}

// IsTournament tells whether the ledger knows a tournament of that id.
func (l *Lab) IsTournament(id string) bool {
	_, err := l.Ledger.LoadTournament(id)
	return err == nil
}

// ResumeTournament goes on with a tournament from its last whole round.
func (l *Lab) ResumeTournament(ctx context.Context, id string, o Options, after func(what string, n, of int)) (*orchestrator.Standings, error) {
	unlock, err := l.lockRun(id)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("tournament %s is under way in another process; wait for it, or interrupt it there", id)
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	p, err := l.recorded(ctx, id, o)
	if err != nil {
		return nil, err
	}
	return l.play(ctx, p, after)
}

// Replayed is one match played again; Notes are what the referee noted, as text.
type Replayed struct {
	Tournament string                   `json:"tournament"`
	Number     int                      `json:"match"`
	Blue       string                   `json:"blue"`
	Red        string                   `json:"red"`
	Recorded   orchestrator.MatchResult `json:"recorded"`
	Again      orchestrator.MatchResult `json:"again"`
	Same       bool                     `json:"same"`
	Notes      []string                 `json:"notes"`
}

// Replay plays a recorded match again, move by move, and compares.
func (l *Lab) Replay(ctx context.Context, id string, number int, o Options) (*Replayed, error) {
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
	m := played[number]
	results, err := orchestrator.Replay(ctx, p, l.Vault, []orchestrator.Match{m.Match})
	if err != nil {
		return nil, err
	}
	again := results[0]
	r := &Replayed{
		Tournament: id, Number: number, Blue: p.Entrants[m.Blue].Name, Red: p.Entrants[m.Red].Name,
		Recorded: m.Result, Again: again, Same: m.Result.Equal(again), Notes: []string{},
	}
	for _, note := range again.Notes {
		text, err := sexpr.Canonical(note)
		if err != nil {
			return nil, err
		}
		r.Notes = append(r.Notes, string(text))
	}
	return r, nil
}
