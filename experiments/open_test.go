package experiments

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"jird/orchestrator"
)

const openDilemma = "examples/dilemma/open.yaml"

// written is a tournament's file with the dilemma's referee.
func written(t *testing.T, text string) string {
	t.Helper()
	agent, err := filepath.Abs("examples/dilemma/agent")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "t.yaml")
	if err := os.WriteFile(path, []byte("name: t\nagent: "+agent+"\nrank: points\nbest: 5\n"+text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func loaded(t *testing.T, path string) *TournamentSpec {
	t.Helper()
	s, err := LoadTournament(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What players with a state are known to play first (the Axelrod library's own tests), and
// that they begin anew in every match.
func TestOpenClassicsPlayAsPublished(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s := loaded(t, openDilemma)
	p, err := s.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.completeTournament(t.Context(), &p, s.Runtime, Options{}); err != nil {
		t.Fatal(err)
	}
	agent, err := l.Agent(&Spec{Name: s.Name, Agent: s.Agent})
	if err != nil {
		t.Fatal(err)
	}
	p.Record.Agent = string(agent)
	first := map[string][]string{
		"tit-for-tat": {"CCCCCCCCCCCC", "CDDDDDDDDDDD", "CCDCDCDCDCDC"},
		"shubik":      {"CCCCCCCCCCCC", "CDCDDCDDDCDD", "CCDCDDCCDDDC"},
		"nydegger":    {"CCCCCCCCCCCC", "CDDCCCCCCCCC", "CCDCDCDCDCDC"},
		"gradual":     {"CCCCCCCCCCCC", "CDCCDDDDCCDD", "CCDCCCDDDCCC"},
		"contrite":    {"CCCCCCCCCCCC", "CDDDDDDDDDDD", "CCDCDCDCDCDC"},
		"fortress":    {"DDDDDDDDDDDD", "DDCDDCDDCDDC", "DDDDDDDDDDDD"},
	}
	playAsPublished(t, l, p, first)
}

const openRoster = `
sides:
  player:
    trust: open
    entrants:
      good: "(define (move . seen) #t)"
      state: "(define n 0) (define (move . seen) (set! n (+ n 1)) (odd? n))"
      dies: "(define (move round . seen) (if (< round 20) #t (exit 1)))"
      cheats: "(define (move round . seen) (if (< round 10) #t 'maybe))"
    held-out:
      bad: "(define (match-play b r s) (cons 5 0)) (define (move . seen) #f)"
matches: {seeds: 2}
`

const mixedRoster = `
sides:
  policy:
    file: policy.scm
    definitions:
      move:
        args: {round: real, mine: bool, theirs: bool, mine-before: bool, theirs-before: bool, theirs-third: bool, my-defections: real, their-defections: real, their-recent: real, chance: real}
        returns: bool
    grammar: {functions: [or, not, <], leaves: [round, mine, theirs]}
    entrants:
      cooperator: "(or mine (not mine))"
  program:
    trust: open
    entrants:
      good: "(define (move . seen) #t)"
      dies: "(define (move round . seen) (exit 1))"
    held-out:
      bad: "(define (move . seen) #f)"
matches: {seeds: 2}
promotion: {cases: 10}
`

// Open sides end the same for any number of workers and shadows, and after an interruption;
// what is recorded can be read back and replayed.
func TestOpenTournamentIsTheSame(t *testing.T) {
	for name, c := range map[string]struct {
		text     string
		matches  int
		forfeits int
		means    map[string]float64
	}{
		"roster": {openRoster, 2*6 + 2, 2 * 5, map[string]float64{"good.wins": 4, "good.losses": 2, "dies.losses": 4, "dies.wins": 2, "cheats.wins": 0, "state.losses": 0}},
		"mixed":  {mixedRoster, 2*2 + 2, 2, map[string]float64{"cooperator.wins": 2, "dies.losses": 2, "promoted": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := written(t, c.text)
			var ends []end
			for _, o := range []Options{{Workers: 1, Shadows: 2}, {Workers: 4, Shadows: 12}} {
				l := emptyLab(t)
				s, err := l.Tournament(t.Context(), loaded(t, path), o, nothing)
				ends = append(ends, ended(t, l, s, err))
			}
			l := emptyLab(t)
			ctx, cancel := context.WithCancel(t.Context())
			_, err := l.Tournament(ctx, loaded(t, path), Options{Shadows: 4}, func(_ string, n, _ int) { cancel() })
			if err == nil || !strings.Contains(err.Error(), "jird resume ") {
				t.Fatalf("interrupted: %v", err)
			}
			run := ends[0].standings.Run
			s, err := l.ResumeTournament(t.Context(), run, Options{Shadows: 6}, nothing)
			ends = append(ends, ended(t, l, s, err))
			for _, e := range ends[1:] {
				if !reflect.DeepEqual(e, ends[0]) {
					t.Errorf("differing ends:\n%+v\n%+v", e, ends[0])
				}
			}
			if s.Matches != c.matches || s.Forfeits != c.forfeits {
				t.Errorf("%d matches, %d forfeits", s.Matches, s.Forfeits)
			}
			for name, want := range c.means {
				if got := s.Numbers()[name]; got != want {
					t.Errorf("%s is %g, want %g", name, got, want)
				}
			}
			played, _, err := l.Ledger.Played(run)
			if err != nil {
				t.Fatal(err)
			}
			forfeits := 0
			for _, m := range played {
				if m.Result.Verdict == orchestrator.Forfeit {
					forfeits++
				}
			}
			for m := 0; m < c.matches; m += 2 {
				r, err := l.ReplayMatch(t.Context(), run, m, Options{})
				if err != nil || !r.Same || r.Recorded.Detail != r.Again.Detail {
					t.Fatalf("replay of %d: %+v, %v", m, r, err)
				}
				moves := 200
				if r.Recorded.Verdict == orchestrator.Forfeit {
					if moves = 0; strings.Contains(r.Recorded.Detail, "neither") {
						moves = 10
					} else if c.forfeits > 4 {
						moves = 20
					}
				}
				if len(r.Notes) != moves {
					t.Errorf("replay of %d (%s) shows %d moves, not %d", m, r.Recorded.Detail, len(r.Notes), moves)
				}
			}
			if forfeits != s.Forfeits {
				t.Errorf("%d forfeits recorded, %d counted", forfeits, s.Forfeits)
			}
		})
	}
}

// What an open side cannot have or be is said where it stands, with the cure.
func TestOpenSideFaults(t *testing.T) {
	for _, c := range []struct{ base, from, to, place, says string }{
		{openRoster, "trust: open", "trust: full", ":8:", "trust must be one of grammar, open"},
		{openRoster, "trust: open", "trust: grammar", ":7:3:", "no definition is to be evolved"},
		{openRoster, "trust: open", "file: policy.scm\n    trust: open", ":8:5:", "so it has no file"},
		{openRoster, "trust: open", "trust: open\n    grammar: {max-size: 5}", ":9:5:", "so it has no grammar: its entrants are Scheme"},
		{openRoster, "trust: open", "trust: open\n    definitions: {move: {}}", ":9:5:", "take it out, or trust: open"},
		{openRoster, "(define (move . seen) #t)", "(define (move . seen) #t", ":10:13:", "good: 1:1: "},
		{openRoster, "(define (move . seen) #t)", "theirs", ":10:13:", "no top-level (define ...)"},
		{openRoster, "(define (move . seen) #t)", "file nowhere.scm", ":10:13:", "good: open"},
		{openRoster, "(define (move . seen) #t)", "file BAD", ":10:13:", "bad.scm: 2:11: "},
		{openRoster, "matches:", "promotion: {cases: 10}\nmatches:", ":16:1:", "only a genome of a grammar can become live; take promotion out"},
		{mixedRoster, "promotion: {cases: 10}", "mode: coevolve\nevolve: {finalists: 2}", ":25:1:", "side program is open, and only genomes of a grammar are evolved"},
	} {
		bad := filepath.Join(t.TempDir(), "bad.scm")
		if err := os.WriteFile(bad, []byte("(define x 1)\n(define y [1])\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(c.base, c.from, strings.Replace(c.to, "BAD", bad, 1), 1)
		if text == c.base {
			t.Fatalf("%s is not there", c.from)
		}
		path := written(t, text)
		if _, err := LoadTournament(path); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "t.yaml"+c.place) {
			t.Errorf("%s: %v", c.to, err)
		}
	}
}

// The identity of a tournament of grammar sides is as it was before there were open ones.
func TestOpenIsNotSaidOfGrammarSides(t *testing.T) {
	text, _ := tournament(t).JSON()
	open, _ := loaded(t, openDilemma).JSON()
	if strings.Contains(text, `"open"`) || !strings.Contains(open, `"open":true`) {
		t.Errorf("%.300s", fmt.Sprint(text, open))
	}
}
