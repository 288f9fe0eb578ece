package experiments

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"jird/experiments/examples"
	"jird/orchestrator"
	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// batcher is Batcher's odd-even merge sort for eight inputs: 19 comparators, which is
// the optimum (Knuth, The Art of Computer Programming 3, 5.3.4).
const batcher = "'((0 1) (2 3) (0 2) (1 3) (1 2) (4 5) (6 7) (4 6) (5 7) (5 6) (0 4) (2 6) (2 4) (1 5) (3 7) (3 5) (1 2) (3 4) (5 6))"

func sortnet(t *testing.T, file string) *TournamentSpec {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d")
	if err := examples.Write("sortnet", dir); err != nil {
		t.Fatal(err)
	}
	s, err := LoadTournament(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asRoster has given networks meet given inputs.
func asRoster(s *TournamentSpec, networks, inputs []EntrantSpec) {
	s.Mode, s.Evolve, s.Promote = "roster", nil, nil
	for i, entrants := range [][]EntrantSpec{networks, inputs} {
		s.Sides[i].Entrants, s.Sides[i].Finals, s.Sides[i].HeldOut = entrants, nil, nil
	}
}

// The referee's points are those of a network computed plainly, one comparator and one
// input after the other; the proof fails what fails anywhere, and says where.
func TestSortnetReferee(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s := sortnet(t, "tournament.yaml")
	rng := rand.New(rand.NewPCG(7, 7))
	networks := [][][2]int{comparatorsOf(batcher)}
	for k := range 20 { // those without one comparator, then random ones
		if network := slices.Clone(networks[0]); k < 10 {
			networks = append(networks, slices.Delete(network, 2*k-k/10, 2*k-k/10+1))
			continue
		}
		var network [][2]int
		for range 1 + rng.IntN(40) {
			a, b := rng.IntN(8), rng.IntN(7)
			network = append(network, [2]int{min(a, (a+1+b)%8), max(a, (a+1+b)%8)})
		}
		networks = append(networks, network)
	}
	var blue, red []EntrantSpec
	for k, n := range networks {
		blue = append(blue, EntrantSpec{Name: fmt.Sprintf("n%d", k), Source: networkText(n)})
	}
	inputs := [][]int{nil}
	for _, count := range []int{1, 17, 48, 49, 150} { // within, at and over the inputs computed at once
		var some []int
		for range count {
			some = append(some, rng.IntN(256))
		}
		inputs = append(inputs, some)
	}
	for k, some := range inputs {
		red = append(red, EntrantSpec{Name: fmt.Sprintf("i%d", k), Source: "'(" + strings.Trim(fmt.Sprint(some), "[]") + ")"})
	}
	asRoster(s, blue, red)
	standings, err := l.Tournament(t.Context(), s, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	played, _, err := l.Ledger.Played(standings.Run)
	if err != nil || len(played) != len(networks)*len(inputs) {
		t.Fatalf("%d matches, %v", len(played), err)
	}
	sorting := 0
	for _, m := range played {
		network, some := networks[m.Blue], inputs[m.Red-len(networks)]
		wantBlue, wantRed := expected(network, some)
		if some == nil && wantRed == 0 {
			sorting++
		}
		if d := m.Result.Blue - wantBlue; max(d, -d) > 1e-12 || m.Result.Red != wantRed {
			t.Errorf("%s on %v: %+v, want %v and %v", networkText(network), some, m.Result, wantBlue, wantRed)
		}
		if some == nil && wantRed == 1 {
			againstCounterexample(t, l, standings.Run, m.Number, network)
		}
	}
	if sorting == 0 || sorting > 12 {
		t.Errorf("%d of %d networks sort, so the proof was not tried either way", sorting, len(networks))
	}
}

// expected are the points that match.scm documents.
func expected(network [][2]int, inputs []int) (blue, red float64) {
	proof := inputs == nil
	if proof {
		for n := range 256 {
			inputs = append(inputs, n)
		}
	}
	failed := 0
	for _, n := range inputs {
		if !sortedBy(network, n) {
			failed++
		}
	}
	cost, share := 0.0003*float64(len(network)), float64(failed)/float64(len(inputs))
	switch {
	case failed == 0:
		return 1 - cost, 0
	case proof:
		return 0, 1
	}
	return 0.5*(1-share) - cost, 0.5 + 0.5*share
}

func sortedBy(network [][2]int, input int) bool {
	var wires [8]int
	for k := range wires {
		wires[k] = input >> k & 1
	}
	for _, c := range network {
		wires[c[0]], wires[c[1]] = min(wires[c[0]], wires[c[1]]), max(wires[c[0]], wires[c[1]])
	}
	return slices.IsSorted(wires[:])
}

func againstCounterexample(t *testing.T, l *Lab, run string, match int, network [][2]int) {
	t.Helper()
	r, err := l.ReplayMatch(t.Context(), run, match, Options{})
	if err != nil || !r.Same {
		t.Fatalf("%+v, %v", r, err)
	}
	var input int
	if n, err := fmt.Sscanf(r.Notes[1], "(proof (fails %d))", &input); n != 1 || err != nil || sortedBy(network, input) {
		t.Errorf("%s: %s is no input that it fails on", networkText(network), r.Notes[1])
	}
}

func comparatorsOf(text string) (network [][2]int) {
	v, err := sexpr.Read([]byte(text))
	if err != nil {
		panic(err)
	}
	for _, c := range v.(sexpr.List)[1].(sexpr.List) {
		pair := c.(sexpr.List)
		network = append(network, [2]int{int(pair[0].(sexpr.Int).Big().Int64()), int(pair[1].(sexpr.Int).Big().Int64())})
	}
	return network
}

func networkText(network [][2]int) string {
	var items []string
	for _, c := range network {
		items = append(items, fmt.Sprintf("(%d %d)", c[0], c[1]))
	}
	return "'(" + strings.Join(items, " ") + ")"
}

// Genomes that are lists are evolved, resumed and promoted as expressions are: the same
// for any number of workers, and the live agent sorts by the network that won.
func TestSortnetIsEvolved(t *testing.T) {
	t.Parallel()
	var exports, runs []string
	for _, shadows := range []int{2, 5} {
		l := emptyLab(t)
		s := sortnet(t, "tournament.yaml")
		s.Sides[0].Entrants = []EntrantSpec{{Name: "batcher", Source: batcher}}
		s.Evolve.Search.Generations, s.Evolve.Search.Population, s.Evolve.Finalists = 3, 12, 2
		o := Options{Shadows: shadows, Workers: shadows}
		if shadows == 5 { // is stopped, and goes on
			ctx, cancel := context.WithCancel(t.Context())
			_, err := l.Tournament(ctx, s, o, func(what string, n, _ int) {
				if n == 2 {
					cancel()
				}
			})
			all, listErr := l.Tournaments()
			if err == nil || listErr != nil {
				t.Fatal(err, listErr)
			}
			if _, err := l.ResumeTournament(t.Context(), all[0].Run, o, nothing); err != nil {
				t.Fatal(err)
			}
			runs = append(runs, all[0].Run)
		} else {
			st, err := l.Tournament(t.Context(), s, o, nothing)
			if err != nil {
				t.Fatal(err)
			}
			runs = append(runs, st.Run)
			sortsByTheWinner(t, l)
		}
		st, err := l.Standings(runs[len(runs)-1])
		if err != nil {
			t.Fatal(err)
		}
		if st.Promoted == nil || !*st.Promoted || st.Generality[0].Mean < 0.994 {
			t.Errorf("%v %s, %+v", st.Promoted, st.Reason, st.Generality)
		}
		var export strings.Builder
		if err := l.Ledger.Export(&export, runs[len(runs)-1]); err != nil {
			t.Fatal(err)
		}
		exports = append(exports, export.String())
	}
	if runs[0] != runs[1] || exports[0] != exports[1] {
		t.Error("two workers and five, with an interruption, give different ledgers")
	}
}

// sortsByTheWinner asks the live agent, as the guard would run it.
func sortsByTheWinner(t *testing.T, l *Lab) {
	t.Helper()
	_, image, err := l.live("sortnet")
	if err != nil {
		t.Fatal(err)
	}
	live, err := orchestrator.LiveImage(image)
	if err != nil {
		t.Fatal(err)
	}
	var p orchestrator.Plan
	p.Shadows = 1
	if err := l.complete(t.Context(), &p, "auto", Options{}); err != nil {
		t.Fatal(err)
	}
	engine, err := sandbox.Open(t.Context(), p.Sandbox, live)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	shadow, err := engine.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer shadow.Close()
	for request, want := range map[string]string{"(cost)": "19", "(sort 5 3 8 1 9 2 7 1)": "(1 1 2 3 5 7 8 9)", "(sort 1)": "(error"} {
		v, err := sexpr.Read([]byte(request))
		if err != nil {
			t.Fatal(err)
		}
		a, err := shadow.Live(t.Context(), 0, false, nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sexpr.Canonical(a.Value); err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%s: %s, want %s (%v)", request, got, want, err)
		}
	}
}

// Of sixteen wires Green's first comparators are given, and the network that is live sorts.
func TestSortnetOfSixteen(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s := sortnet(t, "sixteen.yaml")
	asRoster(s, s.Sides[0].Finals, s.Sides[1].Finals)
	st, err := l.Tournament(t.Context(), s, Options{Shadows: 2}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if want := 1 - 0.0003*120; st.Champion.Mean < want-1e-9 || st.Champion.Mean > want+1e-9 {
		t.Errorf("bubble sort has %v, want %v", st.Champion.Mean, want)
	}
}
