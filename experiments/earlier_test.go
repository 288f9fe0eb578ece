package experiments

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"jird/experiments/examples"
	"jird/experiments/ledger"
	"jird/orchestrator"
)

// changed reads an example's file with other texts in it, in pairs.
func changed(t *testing.T, example, file string, texts ...string) *TournamentSpec {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "e")
	if err := examples.Write(example, dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, file)
	for i := 0; i < len(texts); i += 2 {
		edit(t, path, texts[i], texts[i+1])
	}
	s, err := LoadTournament(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sources are a tournament's entrants as it recorded them.
func sources(t *testing.T, l *Lab, id string) map[string]string {
	t.Helper()
	p, _, err := l.tournament(id)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range p.Entrants {
		all[e.Name] = e.Code.Source()
	}
	return all
}

// small is an evolution of a moment.
func small(s *TournamentSpec) *TournamentSpec {
	e := s.Evolve
	s.Seeds, e.Search.Generations, e.Search.Population, e.Opponents, e.Archive, e.Finalists = 2, 5, 10, 3, 2, 2
	return s
}

// A winner of a run, and a champion of a side, are entrants like any other, and what they
// were when the tournament began is what it records.
func TestEarlierWinnersEnter(t *testing.T) {
	t.Parallel()
	l, run := lab(t)
	result, err := l.Run(t.Context(), run, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := l.Ledger.Explain(result.Run, 1)
	if err != nil {
		t.Fatal(err)
	}
	duel := changed(t, "packer-duel", "tournament.yaml", `first-fit: "0"`, "evolved: run "+result.Run)
	small(duel).Promote = nil
	first, err := l.Tournament(t.Context(), duel, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if got := sources(t, l, first.Run)["evolved"]; got != e.Declared.Winner {
		t.Errorf("the run's winner is %s, not %s", got, e.Declared.Winner)
	}
	next := small(duel)
	next.Sides = slices.Clone(duel.Sides)
	next.Sides[0].Entrants = []EntrantSpec{{Name: "a", from: &earlier{kind: "tournament", id: first.Run}}}
	next.Sides[1].Entrants = []EntrantSpec{{Name: "b", from: &earlier{kind: "tournament", id: first.Run}}}
	second, err := l.Tournament(t.Context(), next, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	was, is := sources(t, l, first.Run), sources(t, l, second.Run)
	for side, name := range []string{"a", "b"} {
		if want := was[first.Champions[side].Name]; is[name] != want {
			t.Errorf("side %d's champion is %s, not %s", side, is[name], want)
		}
	}
	again, err := l.Tournament(t.Context(), next, Options{Shadows: 2}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	one, err := l.Ledger.LoadTournament(second.Run)
	two, also := l.Ledger.LoadTournament(again.Run)
	if err = errors.Join(err, also); err != nil || one.SpecHash != two.SpecHash || two.Repeat != 1 || strings.Contains(one.Spec, first.Run) {
		t.Errorf("%+v, %+v, %v", one, two, err)
	}
}

// A gauntlet's archive is the distinct champions of all generations beside the entrants;
// elsewhere it is the finalists. None enters twice, and no two under one name.
func TestArchivesEnter(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s := changed(t, "dilemma", "coevolve.yaml")
	small(s).Promote = nil
	s.Evolve.Search.Generations = 8
	first, err := l.Tournament(t.Context(), s, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := l.tournament(first.Run)
	if err != nil {
		t.Fatal(err)
	}
	history, err := l.Ledger.Generations(first.Run, p.Grammars)
	if err != nil {
		t.Fatal(err)
	}
	champions := map[string]bool{}
	for _, states := range history {
		champions[states[1].Best[0].Genome.Source()] = true
	}
	g := changed(t, "dilemma", "coevolve.yaml", "tit-for-tat: theirs", "candidate: tournament "+first.Run,
		"    held-out:", "    archive: ["+first.Run+", "+first.Run+"]\n    held-out:")
	asGauntlet(g)
	g.Seeds, g.Promote = 1, nil
	gauntlet, err := l.Tournament(t.Context(), g, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	was, is := sources(t, l, first.Run), sources(t, l, gauntlet.Run)
	if is["candidate"] != was[first.Champion.Name] {
		t.Errorf("the candidate is %s", is["candidate"])
	}
	met := map[string]bool{}
	for name, source := range is {
		if name == "candidate" || name == "live" { // of the other side, which may play alike
			continue
		}
		if met[source] {
			t.Errorf("%s entered twice", name)
		}
		met[source] = true
	}
	for source := range champions {
		if !met[source] {
			t.Errorf("the champion %s is not in the archive", source)
		}
	}
	if len(champions) < 3 {
		t.Fatalf("only %d champions", len(champions))
	}

	// A further evolution starts from the finalists of this one, and its own have the names
	// of their generations again.
	on := changed(t, "dilemma", "coevolve.yaml", "    entrants:\n      tit-for-tat: theirs", "    archive: "+first.Run)
	small(on).Promote = nil
	on.Evolve.Search.Generations = 8
	further, err := l.Tournament(t.Context(), on, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	now := sources(t, l, further.Run)
	if now["blue-8"] != was["blue-8"] || now["blue-8.2"] == "" || now["red-8.2"] != "" || now["tit-for-tat"] != was["tit-for-tat"] {
		t.Errorf("%v, of %v", now, was)
	}
}

// However many generations, their champions that enter are bounded.
func TestArchiveIsBounded(t *testing.T) {
	for _, champions := range []int{1, 7, mostArchived, 5 * mostArchived} {
		var all []ledger.Champion
		for g := range champions {
			all = append(all, ledger.Champion{Generation: g})
		}
		some := orchestrator.Evenly(all, mostArchived)
		if len(some) != min(champions, mostArchived) || some[len(some)-1].Generation != champions-1 {
			t.Errorf("of %d: %d", champions, len(some))
		}
		for k := range some[1:] {
			if step := some[k+1].Generation - some[k].Generation; step < 1 || step > 1+champions/mostArchived {
				t.Errorf("of %d, a step of %d", champions, step)
			}
		}
	}
}

// What cannot enter is told with the place in the file and what to do.
func TestEarlierFaults(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	roster := changed(t, "dilemma", "tournament.yaml")
	roster.Seeds, roster.Promote = 1, nil
	done, err := l.Tournament(t.Context(), roster, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		example, from, to, says string
		unknown                 bool
	}{
		{"dilemma", "tit-for-tat: theirs", "tit-for-tat: run nothing", "tournament.yaml:37:20: there is no run nothing in the ledger; `jird status`", true},
		{"dilemma", "tit-for-tat: theirs", "tit-for-tat: tournament nothing", "tournament.yaml:37:20: there is no run nothing", true},
		{"dilemma", "    entrants:\n", "    archive: [nothing]\n    entrants:\n", "there is no run nothing", true},
		{"dilemma", "tit-for-tat: theirs", "tit-for-tat: run " + done.Run, "is a tournament, not a run", false},
		{"packer-duel", `first-fit: "0"`, "other: tournament " + done.Run, "does not fit side blue", false},
		{"packer-duel", "    entrants:\n", "    archive: " + done.Run + "\n    entrants:\n", "of tournament " + done.Run + " does not fit side blue", false},
	} {
		s := changed(t, c.example, "tournament.yaml", c.from, c.to)
		_, err := l.Tournament(t.Context(), s, Options{Shadows: 2}, nothing)
		var spec *SpecError
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "tournament.yaml:") || errors.Is(err, ledger.ErrNoRun) != c.unknown || errors.As(err, &spec) == c.unknown {
			t.Errorf("%s: %v", c.to, err)
		}
	}
	p, _, err := l.tournament(done.Run)
	if err != nil || p.Rounds() == 1 {
		t.Fatalf("%v", err)
	}
	if _, _, err := l.sideOf(earlier{kind: "tournament", id: done.Run}, "whatever"); err != nil {
		t.Errorf("the only side of a tournament: %v", err)
	}
	if err := l.Ledger.BeginTournament(orchestrator.TournamentRecord{ID: "begun", Name: "dilemma", Spec: p.Record.Spec, SpecHash: "x"}, p.Entrants); err != nil {
		t.Fatal(err)
	}
	if _, err := l.champion(earlier{kind: "tournament", id: "begun"}, "player"); err == nil || !strings.Contains(err.Error(), "jird resume begun") {
		t.Errorf("of one that is not done: %v", err)
	}
}

// A lookup player that was evolved among two sides plays among the classics, who are one.
func TestEvolvedPlayerMeetsTheClassics(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	lookup := changed(t, "dilemma", "lookup.yaml")
	small(lookup).Promote = nil
	evolved, err := l.Tournament(t.Context(), lookup, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	classics := changed(t, "dilemma", "tournament.yaml", "    entrants:\n", "    entrants:\n      evolved: tournament "+evolved.Run+" blue\n")
	classics.Promote, classics.Seeds = nil, 2
	roster, err := l.Tournament(t.Context(), classics, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if was, is := sources(t, l, evolved.Run)[evolved.Champion.Name], sources(t, l, roster.Run)["evolved"]; was == "" || was != is {
		t.Errorf("the champion was %s, and plays as %s", was, is)
	}
	lost := changed(t, "dilemma", "tournament.yaml", "    entrants:\n", "    entrants:\n      evolved: tournament "+evolved.Run+"\n")
	if _, err := l.Tournament(t.Context(), lost, Options{}, nothing); err == nil || !strings.Contains(err.Error(), "say which is meant behind its id; use blue, red") {
		t.Error(err)
	}
}
