package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"io"
	"math/rand"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/orchestrator/promote"
	"jird/population"
	"jird/population/ga"
	"jird/snapshots/sexpr"
)

func grammar(string) (*population.Grammar, error) {
	return &population.Grammar{
		Definitions: []population.Definition{{Name: "f", Params: []population.Param{{Name: "x"}}}},
		Functions:   []string{"+", "*", "max", "if", "<"}, Leaves: []sexpr.Value{sexpr.Symbol("x")},
		Constants: []population.ConstantRange{{Low: -1, High: 1}}, MaxDepth: 6, MaxSize: 40,
	}, nil
}

// recorded is the report of a made-up run, read from a ledger: four islands, 20 cases,
// children of the generation before, and a winner from the last.
func recorded(t testing.TB, generations, size int) func() *Run {
	t.Helper()
	l, err := ledger.Open(filepath.Join(t.TempDir(), "ledger.db"), grammar)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := l.Begin(orchestrator.RunRecord{ID: "r", Name: "made-up", Spec: "{}", SpecHash: "5", Agent: "a", Evaluator: "e"}); err != nil {
		t.Fatal(err)
	}
	best := record(t, l, generations, size)
	d := orchestrator.Decision{
		Run: "r", Number: 1, Incumbent: "(define (f x) x)", Winner: best.Source(), Plan: promote.NewPlan(0.01, 0.05, 0.8, 40, 1),
		Looks: []promote.Look{{N: 10, Incumbent: 5.5, Winner: 2.5, Stop: promote.Better}}, Stop: promote.Better, Promoted: true, Reason: "better: truly",
		Observations: []promote.Observation{{Case: "c", Incumbent: outcome(3), Winner: outcome(2)}},
	}
	for _, err := range []error{l.Declare(d), l.Decide(d), l.Finish("r", orchestrator.RunDone, "generations", 50, "full", time.Minute)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return func() *Run {
		r := &Run{Jird: "devel"}
		if r.Report, err = l.Report("r"); err != nil {
			t.Fatal(err)
		}
		if r.Decision, err = l.Decision("r"); err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func outcome(numerators ...float64) (o population.Outcome) {
	o.Status, o.Steps = population.OK, 100
	for _, n := range numerators {
		o.Scores = append(o.Scores, population.Score{Num: n, Den: 1})
	}
	return o
}

func record(t testing.TB, l *ledger.Ledger, generations, size int) (best *population.Genome) {
	t.Helper()
	g, _ := grammar("")
	rng := rand.New(rand.NewSource(1))
	seen := map[string]bool{}
	var before []ga.Member
	for n := range generations {
		s := &ga.State{Generation: n, Evaluations: (n + 1) * size}
		var fresh []ga.Member
		for len(fresh) < size {
			m := ga.Member{Genome: g.Random(rng), Op: "random", Parents: []string{}}
			if n > 0 {
				mother, father := before[rng.Intn(size)], before[rng.Intn(size)]
				m = ga.Member{Genome: g.Crossover(rng, mother.Genome, father.Genome), Op: "crossover", Parents: []string{mother.Genome.Hash(), father.Genome.Hash()}}
			}
			if seen[m.Genome.Hash()] {
				m = ga.Member{Genome: g.Random(rng), Op: "random", Parents: []string{}}
			}
			if seen[m.Genome.Hash()] {
				continue
			}
			seen[m.Genome.Hash()] = true
			var numerators []float64
			for range 20 {
				numerators = append(numerators, rng.ExpFloat64()/float64(n+10))
			}
			m.Outcome = outcome(numerators...)
			fresh = append(fresh, m)
		}
		for i := range 4 {
			s.Islands = append(s.Islands, fresh[i*size/4:(i+1)*size/4])
		}
		s.Best, before = fresh[:1], fresh
		if bred := slices.IndexFunc(fresh, func(m ga.Member) bool { return len(m.Parents) > 0 }); bred >= 0 {
			best = fresh[bred].Genome
		}
		if err := l.Generation(orchestrator.GenerationRecord{Run: "r", State: s, Fresh: fresh, Elapsed: time.Duration(n+1) * 100 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
	}
	return best
}

func pageOf(t testing.TB, d interface{ HTML(io.Writer) error }) string {
	t.Helper()
	var b bytes.Buffer
	if err := d.HTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// inert fails the test if a page could do or ask for anything, and returns its text.
func inert(t *testing.T, page string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	text, policy := "", ""
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			text += n.Data
		}
		if n.Type != html.ElementNode {
			continue
		}
		if slices.Contains([]string{"script", "img", "iframe", "object", "embed", "form", "a", "base", "use", "image", "foreignobject"}, strings.ToLower(n.Data)) {
			t.Errorf("the page has a <%s>", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || (slices.Contains([]string{"src", "href", "srcset", "action", "data"}, a.Key) && a.Val != "data:,") {
				t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
			}
			if strings.Contains(a.Val, "url(") || strings.Contains(a.Val, "ZgotmplZ") {
				t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
			}
			if a.Val == "Content-Security-Policy" {
				policy = n.Attr[1].Val
			}
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "script-src") || strings.Contains(page, "@import") {
		t.Errorf("the page may ask for something: policy %q", policy)
	}
	return text
}

func TestRunPageTellsTheStory(t *testing.T) {
	r := recorded(t, 40, 16)()
	text := inert(t, pageOf(t, r))
	for _, want := range []string{
		"Promoted the winner: truly.", "Scores by generation", "Diversity by generation", "Best by island", "island 4", "crossover",
		"Declared before the data", "0.01, 0.05, 0.8", "the winner saves", "Where the winner came from", "with crossover of generation", "SHA-256",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	charts, err := r.Charts()
	if err != nil || len(charts) != 5 {
		t.Fatalf("%d charts, %v", len(charts), err)
	}
	for _, c := range charts {
		svg := string(c.SVG)
		if !strings.Contains(svg, `role="img"`) || !strings.Contains(svg, "<title>"+c.Title) || !strings.Contains(svg, "<desc>") || !strings.Contains(svg, "var(--c0)") {
			t.Errorf("%s has no words, or not the page's colours: %.300s", c.Title, svg)
		}
		if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil || strings.Contains(svg, ":#") || strings.Contains(svg, "NaN") {
			t.Errorf("%s: %v, or a colour that is not the page's: %s", c.Title, err, svg)
		}
	}
}

// However long a run was, its page stays small.
func TestPageStaysSmall(t *testing.T) {
	short, long := len(pageOf(t, recorded(t, 60, 8)())), len(pageOf(t, recorded(t, 240, 8)()))
	if long > 500_000 || long > short*2 {
		t.Errorf("%d bytes for 240 generations, %d for 60", long, short)
	}
}

const evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> | `x` [a](javascript:b) \x00\x1b\n=cmd|'/c'!A1 {{.}} </style> --> ]]>"

func hostileDecision() *ledger.Explanation {
	return &ledger.Explanation{Run: evil, Number: 1, Declared: ledger.Declaration{Incumbent: evil, Winner: "(f " + evil, Metric: evil, Guardrails: map[string]string{evil: evil}, WinnerImage: evil},
		Decided: &ledger.Evidence{Reason: evil, Stop: promote.Stop(evil), Cases: []ledger.Compared{{Case: evil, Winner: ledger.Measured{Status: population.Status(evil), Detail: evil}}},
			Looks: []promote.Look{{N: 1, Stop: promote.Stop(evil)}}}}
}

func hostileRun() *Run {
	no := false
	origin := ledger.Origin{Name: evil, Variant: evil, Spec: []byte(evil), SpecHash: evil, Agent: evil, Evaluator: evil, Runtime: evil, Started: evil}
	ancestor := ledger.Ancestor{Hash: evil, Source: "(define (f x) " + evil, Operator: evil}
	return &Run{Report: &ledger.Report{
		Info: ledger.Info{Run: evil, Status: evil, Stop: evil, Promoted: &no, Reason: evil}, Origin: origin, Isolation: evil,
		Incumbent: &ledger.Policy{Expr: evil}, Winner: &ledger.Policy{Expr: "```\n" + evil},
		Lineage:     &ledger.Lineage{Path: []ledger.Step{{Ancestor: ancestor, Father: &ancestor}, {Ancestor: ancestor}}},
		Generations: []ledger.Generation{{Spread: ledger.Spread{Members: 1, Failed: 1}, Islands: []ledger.Spread{{Members: 1, Failed: 1}}}, {Number: 1, Spread: ledger.Spread{Members: 1, Best: 1e300, Three: 1e300}}},
		Operators:   []ledger.Operator{{Name: evil}}, Outcomes: map[string]int{evil: 1},
	}, Decision: hostileDecision(), Images: []Image{{evil, evil, evil}}, Jird: evil}
}

func hostileTournament() *Tournament {
	one := orchestrator.Standing{Side: evil, Name: evil, Expr: evil}
	other := orchestrator.Standing{Side: evil, Name: "=" + evil, Expr: "+1+" + evil}
	return &Tournament{
		Standings: &orchestrator.Standings{Run: evil, Rank: evil, Champion: one, Standings: []orchestrator.Standing{one, other}, Warnings: []string{evil},
			Judged: evil, Generality: []orchestrator.Generality{{Side: evil, Champion: evil}}},
		Status: orchestrator.RunDone, Sides: []string{evil}, Decision: hostileDecision(), Images: []Image{{evil, evil, evil}}, Jird: evil,
		Matrix: orchestrator.Matrix{Rows: []string{evil, "b"}, Columns: []string{evil, "b"}, Cells: [][]orchestrator.Cell{{{}, {Matches: 1, Mean: 2}}, {{Matches: 1, Mean: 1}, {}}}},
		Reigns: []ledger.Reign{{Source: evil}, {Generation: 1, Source: "(g " + evil}}, Origin: ledger.Origin{Name: evil, Spec: []byte(evil)},
	}
}

// What somebody else wrote is text, and stays text, in every form.
func TestHostileText(t *testing.T) {
	run, tournament := hostileRun(), hostileTournament()
	for _, d := range []interface {
		HTML(io.Writer) error
		Markdown(io.Writer) error
	}{run, tournament} {
		if text := inert(t, pageOf(t, d)); strings.Count(text, "<script>alert(1)</script>") < 10 {
			t.Error("the page hides what was written")
		}
		var b bytes.Buffer
		if err := d.Markdown(&b); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(outsideFences(b.String()), "\n") {
			if strings.Contains(line, "<script") || strings.Contains(line, "[a](") || strings.HasPrefix(line, "=cmd") {
				t.Errorf("Markdown has the line %q", line)
			}
		}
	}
	var b bytes.Buffer
	if err := tournament.CSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 3 || !strings.HasPrefix(rows[2][4], "'=<") || !strings.HasPrefix(rows[2][15], "'+1+") {
		t.Errorf("CSV: %q, %v", rows, err)
	}
	b.Reset()
	if err := JUnit(&b, evil, 1, run.Checks()); err != nil {
		t.Fatal(err)
	}
	suite := readJUnit(t, b.Bytes())
	if suite.Tests != 2 || suite.Failures != 2 || !strings.Contains(suite.Cases[1].Failure.Message, "<script>alert(1)</script>") {
		t.Errorf("JUnit: %+v", suite)
	}
}

// outsideFences is a Markdown text without its blocks of code.
func outsideFences(text string) string {
	var kept []string
	fence := ""
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case fence == "" && strings.HasPrefix(line, "```"):
			fence = strings.TrimSuffix(line, "scheme")
		case fence != "" && line == fence:
			fence = ""
		case fence == "":
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

func readJUnit(t *testing.T, text []byte) suite {
	t.Helper()
	var all suites
	if err := xml.Unmarshal(text, &all); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return all.Suites[0]
}

func TestJUnit(t *testing.T) {
	r := recorded(t, 3, 8)()
	var b bytes.Buffer
	more := append(r.Checks(), Check{Name: "assert evaluations > 100", Failure: "it is 24", Kind: "assertion"}, Check{Name: "later", Skipped: "not yet"})
	if err := JUnit(&b, "r", 1.5, more); err != nil {
		t.Fatal(err)
	}
	s := readJUnit(t, b.Bytes())
	if s.Tests != 4 || s.Failures != 1 || s.Skipped != 1 || s.Time != "1.500" || s.Cases[0].Failure != nil || s.Cases[1].Failure != nil || s.Cases[2].Failure.Kind != "assertion" {
		t.Errorf("%+v", s)
	}
	r.Decision.Decided = nil
	r.Status = orchestrator.RunInterrupted
	if c := r.Checks(); c[0].Failure == "" || c[1].Skipped == "" {
		t.Errorf("an interrupted run: %+v", c)
	}
	r.Decision = nil
	if c := r.Checks(); c[1].Skipped == "" {
		t.Errorf("an undeclared decision: %+v", c)
	}
}

func TestCSVHasEveryGeneration(t *testing.T) {
	r := recorded(t, 50, 8)()
	r.Generations[3].Spread = ledger.Spread{Members: 8, Failed: 8}
	var b bytes.Buffer
	if err := r.CSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 51 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	at := func(row int, name string) string { return rows[row][slices.Index(rows[0], name)] }
	if best, err := strconv.ParseFloat(at(1, "best"), 64); err != nil || best != r.Generations[0].Best || at(4, "best") != "" || at(4, "failed") != "8" {
		t.Errorf("%q and %q, %v", rows[1], rows[4], err)
	}
	if at(50, "island4_median") != exact(r.Generations[49].Islands[3].Median) {
		t.Errorf("%q", rows[50])
	}
}

// A run of which nothing is known yet has its page.
func TestUndecidedRun(t *testing.T) {
	r := &Run{Report: &ledger.Report{Info: ledger.Info{Run: "r", Status: orchestrator.RunRunning}}}
	text := inert(t, pageOf(t, r))
	if !strings.Contains(text, "Not decided yet: the run is running") || !strings.Contains(text, "no whole generation") {
		t.Error(text)
	}
}

func BenchmarkPage(b *testing.B) {
	read := recorded(b, 1000, 100)
	var size int
	for b.Loop() {
		size = len(pageOf(b, read()))
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys)/1e6, "MB-heap")
	b.ReportMetric(float64(size)/1e6, "MB-page")
}
