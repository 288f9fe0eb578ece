package experiments

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/snapshots"
)

// liveName is what the live policy is called in a gauntlet.
const liveName = "live"

// mostArchived bounds the champions that a gauntlet takes of one coevolution.
const mostArchived = 200

// earlier is what a side takes from the ledger: the winner of a run or tournament, or
// from a tournament all of the side. Place is where the file says so.
type earlier struct {
	kind  string // "run" or "tournament"
	id    string
	side  string // of the tournament; empty: the one of the same name, or its only one
	place Fault
}

func (e earlier) fault(format string, args ...any) error {
	f := e.place
	f.Msg = fmt.Sprintf(format, args...)
	return &SpecError{[]Fault{f}}
}

// resolved is a spec whose entrants all have a source, so that its JSON says everything:
// winners and archives come from the ledger, a gauntlet's live policy from the image.
func (l *Lab) resolved(s *TournamentSpec, image *snapshots.Image) (*TournamentSpec, error) {
	whole := *s
	whole.Sides = slices.Clone(s.Sides)
	taken := map[string]bool{liveName: true}
	for _, side := range s.Sides {
		for _, e := range slices.Concat(side.Entrants, side.Finals, side.HeldOut) {
			taken[e.Name] = true
		}
	}
	for i := range whole.Sides {
		if err := l.resolveSide(&whole, i, taken); err != nil {
			return nil, err
		}
	}
	if s.Mode != "gauntlet" {
		return &whole, nil
	}
	first := &whole.Sides[0]
	grammar, err := grammarFrom(first.Evolve, first.Grammar)
	if err != nil {
		return nil, err
	}
	live, err := orchestrator.Policy(image, grammar, first.Evolve.File)
	if err != nil {
		return nil, err
	}
	first.Entrants = append(first.Entrants, EntrantSpec{Name: liveName, Source: live.Source()})
	return &whole, nil
}

// resolveSide gives a side's entrants their sources, and those of its archives that it has
// not yet a name that is not taken.
func (l *Lab) resolveSide(s *TournamentSpec, i int, taken map[string]bool) error {
	side := &s.Sides[i]
	read, err := side.reading()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, list := range []*[]EntrantSpec{&side.Entrants, &side.Finals, &side.HeldOut} {
		*list = slices.Clone(*list)
		for k := range *list {
			e := &(*list)[k]
			g, err := l.source(e, side.Name, read)
			if err != nil {
				return err
			}
			e.Source, known[g.Hash()] = g.Source(), true
		}
	}
	for _, from := range side.archives {
		all, err := l.archived(from, side.Name, s.Mode == "gauntlet")
		if err != nil {
			return err
		}
		for _, e := range all {
			g, err := read([]byte(e.Source))
			if err != nil {
				return from.fault("%s of tournament %s does not fit side %s: %v", e.Name, from.id, side.Name, err)
			}
			if !known[g.Hash()] {
				known[g.Hash()] = true
				side.Entrants = append(side.Entrants, EntrantSpec{Name: orchestrator.FreeName(e.Name, taken), Source: g.Source()})
			}
		}
	}
	if least := 3 - len(s.Sides); s.Mode != "gauntlet" && len(side.archives) > 0 && len(side.Entrants) < least {
		return side.archives[0].fault("with what is in the archive side %s has %d entrants; it takes %d or more for a match", side.Name, len(side.Entrants), least)
	}
	return nil
}

// source is an entrant's code, from the ledger if the file says so.
func (l *Lab) source(e *EntrantSpec, side string, read reading) (orchestrator.Code, error) {
	if e.from == nil {
		return read([]byte(e.Source))
	}
	winner := l.winner
	if e.from.kind == "tournament" {
		winner = l.champion
	}
	text, err := winner(*e.from, side)
	if err != nil {
		return nil, err
	}
	g, err := read([]byte(text))
	if err != nil {
		return nil, e.from.fault("%s: the winner of %s %s does not fit side %s: %v", e.Name, e.from.kind, e.from.id, side, err)
	}
	return g, nil
}

// winner is the winner of a run, promoted or not.
func (l *Lab) winner(of earlier, _ string) (source string, err error) {
	if _, err := l.Ledger.Spec(of.id); err != nil {
		if l.IsTournament(of.id) {
			return "", of.fault("%s is a tournament, not a run; its champion enters as NAME: tournament %s", of.id, of.id)
		}
		return "", fmt.Errorf("%s: %w", of.place.where(), err)
	}
	e, err := l.Ledger.Explain(of.id, 1)
	if err != nil {
		return "", fmt.Errorf("%s: %w", of.place.where(), err)
	}
	return e.Declared.Winner, nil
}

// champion is the champion of a tournament's side.
func (l *Lab) champion(of earlier, side string) (source string, err error) {
	p, n, err := l.sideOf(of, side)
	if err != nil {
		return "", err
	}
	played, rounds, err := l.Ledger.Played(of.id)
	if err != nil {
		return "", err
	}
	if rounds < p.Rounds() {
		return "", of.fault("tournament %s has no champion yet; go on with: jird resume %s", of.id, of.id)
	}
	return p.Entrants[p.Champion(played, n)].Code.Source(), nil
}

// archived are the entrants of a side of a tournament, finalists among them, but for those
// whom it held out; with every, the champions of all generations in the finalists' place.
func (l *Lab) archived(from earlier, side string, every bool) (all []EntrantSpec, err error) {
	p, n, err := l.sideOf(from, side)
	if err != nil {
		return nil, err
	}
	for _, e := range p.Entrants {
		if e.Side == n && !e.HeldOut && !(every && e.Finalist) {
			all = append(all, EntrantSpec{Name: e.Name, Source: e.Code.Source()})
		}
	}
	if !every {
		return all, nil
	}
	champions, err := l.Ledger.Champions(from.id, n)
	for _, c := range orchestrator.Evenly(champions, mostArchived) {
		all = append(all, EntrantSpec{Name: fmt.Sprintf("%s-%d", p.SideNames[n], c.Generation), Source: c.Source})
	}
	return all, err
}

// sideOf reads a tournament and finds the side that is meant: the one that was named,
// that of the same name, or its only one.
func (l *Lab) sideOf(of earlier, side string) (p orchestrator.TournamentPlan, n int, err error) {
	p, _, err = l.tournament(of.id)
	if errors.Is(err, ledger.ErrNoRun) {
		if has, _ := l.Ledger.Has(of.id); has {
			return p, 0, of.fault("%s is a run, not a tournament; its winner enters as NAME: run %s", of.id, of.id)
		}
		return p, 0, fmt.Errorf("%s: %w", of.place.where(), err)
	}
	if err != nil || (len(p.SideNames) == 1 && of.side == "") {
		return p, 0, err
	}
	side = cmp.Or(of.side, side)
	if n = slices.Index(p.SideNames, side); n < 0 {
		return p, 0, of.fault("tournament %s has no side %s; say which is meant behind its id; %s", of.id, side, Suggest(side, p.SideNames))
	}
	return p, n, nil
}
