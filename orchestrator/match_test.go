package orchestrator

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"jird/snapshots/sexpr"
)

// duel asks each side for f of the seed's last digit. Who is told 7 by the seed fills
// the memory, or asks for what no side has, or answers text.
const duel = `
(define (match-play blue red seed)
  (let* ((x (modulo seed 10)) (b (blue 'f x)) (r (red 'f x)))
    (match-note! (list 'blue b))
    (match-note! (list 'red r))
    (case x
      ((6) (let loop ((l '())) (loop (cons (make-vector 1000 l) l))))
      ((7) (blue 'g 1))
      ((8) (cons "one" 1))
      ((9) (let loop ((i 0)) (if (< i 100) (begin (red 'f i) (loop (+ i 1))))) (cons 0 0))
      (else (cons b r)))))`

// seeded gives the seed that the referee sees as x.
func seeded(x uint64) uint64 { return x << 2 }

func sides(t testing.TB, texts ...string) (all []Code) {
	t.Helper()
	for _, g := range genomes(t, texts...) {
		all = append(all, g)
	}
	return all
}

func TestMatches(t *testing.T) {
	t.Parallel()
	p := openPool(t, duel, 20*time.Second, 1, 4)
	all := sides(t, "x", "(* x x)", "(+ (+ (+ x 1) (+ x 1)) (+ (+ x 1) (+ (* x x) (* x x))))")
	for _, c := range []struct {
		match   Match
		verdict Verdict
		blue    float64
		red     float64
		score   float64
		says    string
	}{
		{Match{0, 1, seeded(3)}, Played, 3, 9, 0, ""},
		{Match{1, 0, seeded(3)}, Played, 9, 3, 1, ""},
		{Match{0, 0, seeded(4)}, Played, 4, 4, 0.5, ""},
		{Match{0, 1, seeded(6)}, Draw, 0, 0, 0.5, "eap overflow"},
		{Match{0, 2, seeded(9)}, Forfeit, 1, 0, 1, "red ran out"},
		{Match{2, 1, seeded(9)}, Played, 0, 0, 0.5, ""},
	} {
		results, err := p.Play(t.Context(), all, []Match{c.match}, true)
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		if r.Verdict != c.verdict || r.Blue != c.blue || r.Red != c.red || r.Score() != c.score || !strings.Contains(r.Detail, c.says) {
			t.Errorf("%+v: %+v", c.match, r)
		}
		if r.Verdict == Played && (len(r.Notes) != 2 || !strings.Contains(fmt.Sprint(r.Notes[0]), "blue") || r.BlueSteps == 0) {
			t.Errorf("%+v: notes %v, steps %d", c.match, r.Notes, r.BlueSteps)
		}
	}
	for x, says := range map[uint64]string{7: "asked blue for g", 8: "must be a pair of two finite"} {
		_, err := p.Play(t.Context(), all, []Match{{0, 1, seeded(x)}}, false)
		var referee *RefereeError
		if !errors.As(err, &referee) || !strings.Contains(err.Error(), says) {
			t.Errorf("%d: %v", x, err)
		}
	}
}

// One match of a batch fills the memory of the shadow: the others are as if alone.
func TestMatchesInCompany(t *testing.T) {
	t.Parallel()
	all := sides(t, "x", "(* x x)", "(+ x 1)", "2")
	var matches []Match
	for i := range 100 {
		matches = append(matches, Match{i % 4, (i + i/4) % 4, seeded(uint64(i % 7))})
	}
	var first []MatchResult
	for _, shadows := range []int{1, 5} {
		p := openPool(t, duel, 20*time.Second, 1, shadows)
		results, err := p.Play(t.Context(), all, matches, false)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = results
		}
		for i, r := range results {
			if want := (map[bool]Verdict{true: Draw, false: Played})[i%7 == 6]; r.Verdict != want || !reflect.DeepEqual(r, first[i]) {
				t.Fatalf("match %d with %d shadows: %+v, before %+v", i, shadows, r, first[i])
			}
		}
	}
}

func TestMatchAnswersOfAnotherForm(t *testing.T) {
	side := genomes(t, "x")[0]
	for _, text := range []string{"1", "()", "(ok 1 2 3)", "(ok 1 2 a 4)", "(won 1)"} {
		v, err := sexpr.Read([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := decodeMatch(v, side, side); err == nil {
			t.Errorf("%s was taken for %+v", text, r)
		}
	}
}

// Who forfeits a match of points gives the other all that a match can be worth, and a
// draw of nobody's fault halves it, so that neither costs who did nothing wrong.
func TestWorthOfAMatch(t *testing.T) {
	played := MatchResult{Verdict: Played, Blue: 2, Red: 3}
	forfeit := MatchResult{Verdict: Forfeit, Blue: 1}
	draw := MatchResult{Verdict: Draw}
	for _, c := range []struct {
		rank                    string
		best                    float64
		result                  MatchResult
		blue, red, missedByBlue float64
	}{
		{ByPoints, 5, played, 2, 3, 3}, {ByPoints, 5, forfeit, 5, 0, 0}, {ByPoints, 5, draw, 2.5, 2.5, 2.5},
		{ByPoints, 0, forfeit, 1, 0, 0}, {ByWins, 5, played, 0, 1, 1}, {ByWins, 0, draw, 0.5, 0.5, 0.5},
	} {
		p := TournamentPlan{Rank: c.rank, Best: c.best}
		if blue, red := p.worth(c.result); blue != c.blue || red != c.red || p.missing(c.result) != c.missedByBlue {
			t.Errorf("by %s of %v: %+v is worth %v and %v, blue missed %v", c.rank, c.best, c.result, blue, red, p.missing(c.result))
		}
	}
	p := TournamentPlan{Rank: ByWins}
	for detail, want := range map[string]string{"blue ran out of steps": "fuel", "blue moved twice": "type"} {
		if o := p.missed(MatchResult{Verdict: Forfeit, Red: 1, Detail: detail}); string(o.Status) != want {
			t.Errorf("%s: %s", detail, o.Status)
		}
	}
}

// A champion that shares its place is told apart from one whose place is doubtful.
func TestDoubt(t *testing.T) {
	for want, s := range map[string]Standing{
		"":                     {Rank: 1, Ranks: [2]float64{1, 1}},
		"one of 7 that are":    {Rank: 4, Ranks: [2]float64{4, 4}},
		"rank is from 1 to 3;": {Rank: 1, Ranks: [2]float64{1, 3}},
	} {
		if got := strings.Join(doubt(s), ""); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}
