package experiments

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"jird/experiments/examples"
	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/snapshots/sexpr"
)

const dilemma = "examples/dilemma/tournament.yaml"

// emptyLab is a new state folder.
func emptyLab(t *testing.T) *Lab {
	t.Helper()
	needScheme(t)
	l, err := OpenLab(t.TempDir(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func tournament(t *testing.T) *TournamentSpec {
	t.Helper()
	s, err := LoadTournament(dilemma)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func nothing(string, int, int) {}

// What the classics are known to play first, against who always cooperates, who always
// defects, and who alternates (Axelrod 1980; the Axelrod library's own tests).
func TestClassicsPlayAsPublished(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s := tournament(t)
	standings, err := l.Tournament(t.Context(), s, Options{Shadows: 2}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.recorded(t.Context(), standings.Run, Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := map[string][]string{
		"cooperator":             {"CCCCCCCCCCCC", "CCCCCCCCCCCC", "CCCCCCCCCCCC"},
		"defector":               {"DDDDDDDDDDDD", "DDDDDDDDDDDD", "DDDDDDDDDDDD"},
		"alternator":             {"CDCDCDCDCDCD", "CDCDCDCDCDCD", "CDCDCDCDCDCD"},
		"tit-for-tat":            {"CCCCCCCCCCCC", "CDDDDDDDDDDD", "CCDCDCDCDCDC"},
		"suspicious-tit-for-tat": {"DCCCCCCCCCCC", "DDDDDDDDDDDD", "DCDCDCDCDCDC"},
		"tit-for-two-tats":       {"CCCCCCCCCCCC", "CCDDDDDDDDDD", "CCCCCCCCCCCC"},
		"two-tits-for-tat":       {"CCCCCCCCCCCC", "CDDDDDDDDDDD", "CCDDDDDDDDDD"},
		"hard-tit-for-tat":       {"CCCCCCCCCCCC", "CDDDDDDDDDDD", "CCDDDDDDDDDD"},
		"grudger":                {"CCCCCCCCCCCC", "CDDDDDDDDDDD", "CCDDDDDDDDDD"},
		"davis":                  {"CCCCCCCCCCCC", "CCCCCCCCCCDD", "CCCCCCCCCCDD"},
		"pavlov":                 {"CCCCCCCCCCCC", "CDCDCDCDCDCD", "CCDDCCDDCCDD"},
		"generous-tit-for-tat":   {"CCCCCCCCCCCC", "C", "CC"},
		"joss":                   {"C", "CDDDDDDDDDDD", "C"},
		"tullock":                {"CCCCCCCCCCC", "CCCCCCCCCCCD", "CCCCCCCCCCC"},
		"feld":                   {"C", "CDDDDDDDDDDD", "C"},
	}
	playAsPublished(t, l, p, first)
}

// playAsPublished holds players to their first moves against who always cooperates, who
// always defects, and who alternates.
func playAsPublished(t *testing.T, l *Lab, p orchestrator.TournamentPlan, first map[string][]string) {
	t.Helper()
	number := func(name string) int {
		return slices.IndexFunc(p.Entrants, func(e orchestrator.Entrant) bool { return e.Name == name })
	}
	opponents := []string{"cooperator", "defector", "alternator"}
	var matches []orchestrator.Match
	var wanted []string
	for name, moves := range first {
		for i, o := range opponents {
			matches = append(matches, orchestrator.Match{Blue: number(name), Red: number(o), Seed: 12345})
			wanted = append(wanted, moves[i])
		}
	}
	results, err := orchestrator.Replay(t.Context(), p, l.Vault, matches)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if got := moves(r); len(got) != 200 || !strings.HasPrefix(got, wanted[i]) {
			t.Errorf("%s against %s plays %.12s, want %s", p.Entrants[matches[i].Blue].Name, opponents[i%len(opponents)], got, wanted[i])
		}
	}
}

// moves are blue's.
func moves(r orchestrator.MatchResult) string {
	var text strings.Builder
	for _, n := range r.Notes {
		text.WriteString(string(n.(sexpr.List)[0].(sexpr.Symbol)))
	}
	return text.String()
}

// end is all that a tournament came to, but for the time that it took.
type end struct {
	standings orchestrator.Standings
	export    string
}

func ended(t *testing.T, l *Lab, s *orchestrator.Standings, err error) end {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s.Seconds = 0
	var export bytes.Buffer
	if err := l.Ledger.Export(&export, s.Run); err != nil {
		t.Fatal(err)
	}
	return end{*s, export.String()}
}

// The same seed gives the same matches, generations and standings for any number of
// workers and shadows, and after an interruption in the evolution or in the rounds.
func TestTournamentIsTheSame(t *testing.T) {
	for _, c := range []struct {
		name     string
		file     string
		change   func(*TournamentSpec)
		cut      string // what is under way when it is interrupted, at the second
		rounds   int
		matches  int
		exported int // lines besides matches
	}{
		{"roster", dilemma, func(*TournamentSpec) {}, "round", 4, 3*120 + 3*5, 1 + 21 + 1},
		// 15 entrants: seven pairs a round, and one sits out.
		{"swiss", dilemma, func(s *TournamentSpec) { s.Swiss, s.Sides[0].Entrants = true, s.Sides[0].Entrants[1:] }, "round", 6, 5*7 + 5*5, 1 + 20 + 1},
		// The candidate and the live policy against nine.
		{"gauntlet", "examples/dilemma/coevolve.yaml", func(s *TournamentSpec) { asGauntlet(s); s.Seeds++ }, "round", 4, 4 * 2 * 9, 1 + 11 + 1},
		// Blue alone is evolved and has finalists, 3, beside its entrant; red has 3 entrants.
		{"drawn", "examples/dilemma/coevolve.yaml", func(s *TournamentSpec) { s.Evolve.Drawn = true }, "generation", 3, 2*4*3 + 2*6, 1 + 13 + 2*4 + 1},
		// 1 and 3 entrants, 3 finalists a side, 6 held out, 4 generations of two sides.
		{"coevolve", "examples/dilemma/coevolve.yaml", func(*TournamentSpec) {}, "generation", 3, 2*4*6 + 2*6, 1 + 16 + 2*4 + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			spec, err := LoadTournament(c.file)
			if err != nil {
				t.Fatal(err)
			}
			spec.Seeds = c.rounds - 1 // the last is against the held-out
			c.change(spec)
			if e := spec.Evolve; e != nil {
				e.Search.Generations, e.Search.Population, e.Opponents, e.Archive, e.Finalists = 3, 10, 3, 2, 3
			}
			finish := func(l *Lab, s *orchestrator.Standings, err error) end {
				t.Helper()
				e := ended(t, l, s, err)
				played, rounds, err := l.Ledger.Played(s.Run)
				if err != nil || rounds != c.rounds || len(played) != c.matches {
					t.Fatalf("%d matches in %d rounds, %v", len(played), rounds, err)
				}
				if lines := strings.Count(e.export, "\n"); lines != c.exported+c.matches {
					t.Fatalf("%d lines of export", lines)
				}
				return e
			}
			var ends []end
			for _, o := range []Options{{Workers: 1, Shadows: 2}, {Workers: 8, Shadows: 9}} {
				l := emptyLab(t)
				s, err := l.Tournament(t.Context(), spec, o, nothing)
				ends = append(ends, finish(l, s, err))
			}
			l := emptyLab(t)
			run := ends[0].standings.Run
			ctx, cancel := context.WithCancel(t.Context())
			_, err = l.Tournament(ctx, spec, Options{Shadows: 2}, func(what string, n, _ int) {
				if what == c.cut && n == 2 {
					cancel()
				}
			})
			if err == nil || !strings.Contains(err.Error(), "jird resume "+run) {
				t.Fatalf("interrupted: %v", err)
			}
			if _, rounds, err := l.Ledger.Played(run); err != nil || rounds == c.rounds {
				t.Fatalf("%d rounds before it was interrupted, %v", rounds, err)
			}
			s, err := l.ResumeTournament(t.Context(), run, Options{Shadows: 3}, nothing)
			ends = append(ends, finish(l, s, err))
			for _, e := range ends[1:] {
				if !reflect.DeepEqual(e, ends[0]) {
					t.Errorf("differing ends:\n%+v\n%+v", e.standings, ends[0].standings)
				}
			}
			for _, m := range []int{0, c.matches / 2, c.matches - 1} {
				r, err := l.ReplayMatch(t.Context(), run, m, Options{})
				if err != nil || !r.Same || len(r.Notes) != 200 {
					t.Errorf("replay of %d: %+v, %v", m, r, err)
				}
			}
		})
	}
}

// A list of tournaments says how far each is, its evolution too, and whether somebody
// carries it out.
func TestTournamentsAreListed(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s := small(changed(t, "dilemma", "coevolve.yaml"))
	list := func() (i ledger.TournamentInfo) { // another goroutine asks too
		all, err := l.Tournaments()
		if err != nil || len(all) != 1 {
			t.Errorf("%+v, %v", all, err)
			return i
		}
		return all[0]
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := l.Tournament(ctx, s, Options{Shadows: 4}, func(what string, n, _ int) {
		if what == "generation" && n == 2 {
			if i := list(); i.Status != orchestrator.RunRunning || i.Generations != 2 || i.GenerationsOf != 5 || i.Rounds != 0 || i.RoundsOf != 3 {
				t.Errorf("under way: %+v", i)
			}
			cancel()
		}
	}); err == nil {
		t.Fatal("it was not interrupted")
	}
	i := list()
	if i.Status != orchestrator.RunInterrupted || i.Generations >= 5 || i.Promoted != nil {
		t.Errorf("interrupted: %+v", i)
	}
	ended, err := l.ResumeTournament(t.Context(), i.Run, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if i := list(); i.Status != orchestrator.RunDone || i.Generations != 5 || i.Rounds != 3 || i.Matches != ended.Matches || i.Promoted == nil || *i.Promoted != *ended.Promoted || i.Reason != ended.Reason {
		t.Errorf("done: %+v", i)
	}
}

// The order of the classics, and what intervals say of it.
func TestDilemmaStandings(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s, err := l.Tournament(t.Context(), tournament(t), Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	n := s.Numbers()
	for _, nice := range []string{"tit-for-tat", "generous-tit-for-tat", "tit-for-two-tats", "grudger"} {
		for _, nasty := range []string{"defector", "joss", "feld"} {
			if n[nice+".rank"] > n[nasty+".rank"] {
				t.Errorf("%s is ranked before %s", nasty, nice)
			}
		}
	}
	if n["defector.winrate"] < 0.9 || n["tit-for-tat.wins"] != 0 || n["defector.alpha"] < 0.5 {
		t.Errorf("wins: %+v", s.Standings)
	}
	if len(s.Generality) != 1 || s.Generality[0].Opponents != 5 || s.Generality[0].Matches != 100 || s.Champion.Rank != 1 || s.Matches != 20*120+100 {
		t.Errorf("%+v, %+v", s.Generality, s.Champion)
	}
}

// By Swiss nobody meets again in as many rounds as that can be, winners meet winners, the
// best come to the top in a fraction of the matches, and there is no alpha-rank of a table
// with empty cells; once all have met there is.
func TestSwissDilemma(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s := tournament(t)
	s.Swiss, s.Seeds, s.Promote, s.Sides[0].HeldOut, s.Rank = true, 6, nil, nil, orchestrator.ByWins
	few, err := l.Tournament(t.Context(), s, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	played, _, err := l.Ledger.Played(few.Run)
	if err != nil || len(played) != 6*8 {
		t.Fatalf("%d matches, %v", len(played), err)
	}
	met, blue, points := map[[2]int]bool{}, make([]int, 16), make([]float64, 16)
	apart := 0.0
	for i, m := range played {
		pair := [2]int{min(m.Blue, m.Red), max(m.Blue, m.Red)}
		if met[pair] {
			t.Errorf("%v met again in round %d", pair, i/8)
		}
		met[pair] = true
		blue[m.Blue]++
		if i/8 == 5 {
			apart += max(points[m.Blue]-points[m.Red], points[m.Red]-points[m.Blue]) / 8
		}
		points[m.Blue], points[m.Red] = points[m.Blue]+m.Result.Score(), points[m.Red]+1-m.Result.Score()
	}
	if slices.Min(blue) < 2 || slices.Max(blue) > 4 {
		t.Errorf("seats: %v", blue)
	}
	if apart > 1 {
		t.Errorf("in the last round %v points lay between two, on average", apart)
	}
	n := few.Numbers()
	if _, told := n["champion.alpha"]; told || few.Champion.Alpha != nil || n["defector.rank"] > 3 || few.Champion.Ranks[1] <= 1 {
		t.Errorf("%+v", few.Standings)
	}
	s.Seeds, s.Sides[0].Entrants = 3, s.Sides[0].Entrants[:4]
	all, err := l.Tournament(t.Context(), s, Options{Shadows: 4}, nothing)
	if err != nil || all.Matches != 3*2 || all.Champion.Alpha == nil || all.Standings[0].Alpha == nil {
		t.Errorf("of all pairs: %+v, %v", all, err)
	}
}

// The champion becomes live only if it is better than what is live against those whom
// neither has met; the evidence can be read, and a repetition of the tournament decides
// by itself.
func TestChampionIsHandedOver(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s, err := l.Tournament(t.Context(), tournament(t), Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if s.Promoted == nil || !*s.Promoted || !strings.Contains(s.Reason, "better: on") || s.Numbers()["promoted"] != 1 {
		t.Fatalf("%v, %s", s.Promoted, s.Reason)
	}
	e, err := l.Ledger.Explain(s.Run, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(e.Declared.Winner, s.Champion.Expr) || e.Declared.Evaluator == "" || len(e.Decided.Cases) != e.Decided.Looks[len(e.Decided.Looks)-1].N {
		t.Errorf("%+v", e.Declared)
	}
	live, image, err := l.live("dilemma")
	if err != nil || string(live) != e.Declared.WinnerImage || !strings.Contains(string(image.File("policy.scm").Data), s.Champion.Expr) {
		t.Errorf("live is %s, %v", live, err)
	}
	again, err := l.Standings(s.Run)
	if again.Seconds = s.Seconds; err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("reckoned up again: %+v, %v", again, err)
	}
	next, err := l.Tournament(t.Context(), tournament(t), Options{Shadows: 4}, nothing)
	if err != nil || *next.Promoted || !strings.Contains(next.Reason, "nothing better than the incumbent") {
		t.Errorf("the champion against itself: %+v, %v", next, err)
	}
}

// asGauntlet makes tit for tat, which is what is live, the candidate of a gauntlet.
func asGauntlet(s *TournamentSpec) { s.Mode, s.Evolve = "gauntlet", nil }

// In a gauntlet the candidate is judged, whoever is the champion, on the whole archive; it
// becomes live if it is better, and is told if it is what is live already.
func TestGauntlet(t *testing.T) {
	for _, c := range []struct {
		name, candidate string
		promoted        bool
		champion        string
		reason, warning string
	}{
		{"better", "(and mine (not mine))", true, "candidate", "better: on", ""},
		{"worse", "(or mine (not mine))", false, "live", "", ""},
		{"the same", "theirs", false, "candidate", "nothing better than the incumbent", "candidate is what is live already"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := LoadTournament("examples/dilemma/coevolve.yaml")
			if err != nil {
				t.Fatal(err)
			}
			asGauntlet(s)
			s.Sides[0].Entrants = []EntrantSpec{{Name: "candidate", Source: c.candidate}}
			s.Sides[1].Entrants = []EntrantSpec{{Name: "cooperator", Source: "(or mine (not mine))"}, {Name: "random", Source: "(< chance 0.5)"}}
			s.Sides[1].HeldOut = []EntrantSpec{{Name: "alternator", Source: "(or (< round 1) (not mine))"}}
			l := emptyLab(t)
			got, err := l.Tournament(t.Context(), s, Options{Shadows: 4}, nothing)
			if err != nil {
				t.Fatal(err)
			}
			if got.Judged != "candidate" || got.Champion.Name != c.champion || got.Promoted == nil || *got.Promoted != c.promoted || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("%+v", got)
			}
			if n := got.Numbers(); got.Matches != 10*2*3 || len(got.Generality) != 0 || n["live.wins"]+n["live.draws"]+n["live.losses"] != 30 {
				t.Errorf("%+v", got)
			}
			if c.warning != "" && !strings.Contains(strings.Join(got.Warnings, "\n"), c.warning) {
				t.Errorf("warnings: %q", got.Warnings)
			}
			e, err := l.Ledger.Explain(got.Run, 0)
			if err != nil {
				t.Fatal(err)
			}
			met := map[string]bool{}
			for _, o := range e.Decided.Cases {
				met[o.Case[:strings.LastIndex(o.Case, "-")]] = true
			}
			if c.promoted && len(met) != 3 {
				t.Errorf("the decision looked at matches with %v", met)
			}
			again, err := l.Standings(got.Run)
			if again.Seconds = got.Seconds; err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("reckoned up again: %+v, %v", again, err)
			}
			s.Promote = nil
			if unasked, err := l.Tournament(t.Context(), s, Options{Shadows: 4}, nothing); err != nil || unasked.Promoted != nil || unasked.Judged != "" {
				t.Errorf("without promotion: %+v, %v", unasked, err)
			}
		})
	}
}

func TestTournamentFaults(t *testing.T) {
	wantFaults(t, dilemma, []mistake{
		{"pairing: round-robin", "pairing: monrad", "pairing must be one of round-robin, swiss"},
		{"rank: points", "rank: luck", "rank must be one of points, wins"},
		{"seeds: 20", "seed: 20", `did you mean "seeds"?`},
		{"tit-for-tat: theirs\n", "tit-for-tat: thiers\n", "tit-for-tat: "},
		{"      forgiver:", "      davis:", "two entrants are called davis"},
		{"agent: agent ", "# ", "agent is missing"},
		{"best: 5 ", "# ", "best is missing"},
		{"    held-out: ", "    # ", "holds nobody out"},
		{"    file: policy.scm", "    #", "side player has no file"},
		{"grudger: \"(= their-defections 0)\"", "grudger: file nowhere.scm", "grudger: open"},
	})
	wantFaults(t, "examples/dilemma/coevolve.yaml", []mistake{
		{"matches:\n", "matches:\n  pairing: swiss\n", "pairing swiss is for one side"},
		{"control: none", "control: random", "control must be one of none, drawn"},
		{"    islands: 2", "    control: random", "the control of two sides is evolve.control: drawn"},
		{"mode: coevolve", "mode: gauntlet", "mode coevolve and the key evolve go together"},
	})
	wantFaults(t, dilemma, []mistake{
		{"mode: roster", "mode: gauntlet", "a gauntlet has two sides, the candidate's and the archive's, not 1"},
		{"  pairing: round-robin    # or swiss: each round pairs players of about equal standing\n  seeds: 20", "  pairing: swiss\n  seeds: 1", "swiss takes 2 rounds or more"},
	})
	gauntlet := filepath.Join(t.TempDir(), "gauntlet.yaml")
	if err := os.WriteFile(gauntlet, asGauntletFile(t), 0o644); err != nil {
		t.Fatal(err)
	}
	wantFaults(t, gauntlet, []mistake{
		{"tit-for-tat: theirs", "tit-for-tat: theirs\n      one-more: mine", "side blue has 2 entrants, 0 finals, 0 held out and 0 archives; in a gauntlet"},
		{"    file: policy.scm", "    #", "side blue has no file; say where the live policy stands"},
		{"tit-for-tat: theirs", "live: theirs", "an entrant is called live"},
	})
}

// asGauntletFile is the example of coevolution as a gauntlet.
func asGauntletFile(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("examples/dilemma/coevolve.yaml")
	if err != nil {
		t.Fatal(err)
	}
	head, tail, _ := strings.Cut(string(data), "\nevolve:\n")
	_, tail, found := strings.Cut(tail, "\nmatches:\n")
	if !found {
		t.Fatal("the example has no matches after what is evolved")
	}
	return []byte(strings.Replace(head, "mode: coevolve", "mode: gauntlet", 1) + "\nmatches:\n" + tail)
}

// mistake is a change to a file, and what is said of it.
type mistake struct{ from, to, says string }

func wantFaults(t *testing.T, file string, all []mistake) {
	t.Helper()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		path := filepath.Join(t.TempDir(), "t.yaml")
		text := strings.Replace(string(good), c.from, c.to, 1)
		if text == string(good) {
			t.Fatalf("%s is not there", c.from)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadTournament(path); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "t.yaml:") {
			t.Errorf("%s: %v", c.to, err)
		}
	}
}

// The referee of the packer's duel counts bins as we do by hand, on streams within the
// class's limits, and its example's sides are fit to be evolved.
func TestPackerDuel(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	dir := filepath.Join(t.TempDir(), "d")
	if err := examples.Write("packer-duel", dir); err != nil {
		t.Fatal(err)
	}
	s, err := LoadTournament(filepath.Join(dir, "tournament.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.Seeds = 2
	e := s.Evolve
	e.Search.Generations, e.Search.Population, e.Opponents, e.Archive, e.Finalists = 2, 10, 3, 2, 2
	standings, err := l.Tournament(t.Context(), s, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if standings.Promoted == nil || len(standings.Generality) != 1 || standings.Generality[0].Mean < 0.9 || standings.Forfeits > 0 {
		t.Errorf("%+v", standings)
	}
	played, _, err := l.Ledger.Played(standings.Run)
	if err != nil {
		t.Fatal(err)
	}
	for m := 0; m < len(played); m += 5 {
		r, err := l.ReplayMatch(t.Context(), standings.Run, m, Options{})
		if err != nil || !r.Same {
			t.Fatalf("%+v, %v", r, err)
		}
		var used, needed int
		list, found := strings.CutPrefix(r.Notes[0], "(used ")
		if n, err := fmt.Sscanf(list, "%d needed %d items", &used, &needed); !found || n != 2 || err != nil {
			t.Fatal(r.Notes[0])
		}
		var items []int
		for _, field := range strings.Fields(strings.Trim(list[strings.Index(list, "items (")+len("items ("):], "()")) {
			size, err := strconv.Atoi(field)
			if err != nil || size < 20 || size > 100 {
				t.Fatalf("an item of %s, %v", field, err)
			}
			items = append(items, size)
		}
		if want := firstFitDecreasing(items); len(items) != 120 || needed != want || r.Again.Red != min(1, max(0, float64(used-needed)/float64(needed))) {
			t.Errorf("match %d: %d items need %d bins, not %d; %+v", m, len(items), want, needed, r.Again)
		}
	}
}

func firstFitDecreasing(items []int) int {
	slices.SortFunc(items, func(a, b int) int { return b - a })
	var bins []int
	for _, size := range items {
		k := slices.IndexFunc(bins, func(remaining int) bool { return remaining >= size })
		if k < 0 {
			bins, k = append(bins, 150), len(bins)
		}
		bins[k] -= size
	}
	return len(bins)
}
