package propose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"jird/population"
	"jird/population/ga"
	"jird/sandbox"
	"jird/snapshots/sexpr"
)

func TestMain(m *testing.M) {
	sandbox.Stage()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("jird/sandbox.init.func1.1")) // it starts programs, and stays
}

// policies is the grammar of the tests: one definition of two arguments.
func policies() *population.Grammar {
	return &population.Grammar{
		Definitions: []population.Definition{{Name: "priority", Params: []population.Param{{Name: "item"}, {Name: "remaining"}}}},
		Functions:   []string{"+", "-", "*", "max"}, Leaves: []sexpr.Value{sexpr.Symbol("item"), sexpr.Symbol("remaining")},
		Constants: []population.ConstantRange{{Low: 0, High: 1}}, MaxDepth: 6, MaxSize: 20,
	}
}

func parse(t testing.TB, g *population.Grammar, src string) *population.Genome {
	t.Helper()
	genome, err := g.Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return genome
}

func member(t testing.TB, g *population.Grammar, src string, scores ...float64) ga.Member {
	m := ga.Member{Genome: parse(t, g, src), Outcome: population.Outcome{Status: population.OK}}
	for _, s := range scores {
		m.Outcome.Scores = append(m.Outcome.Scores, population.Score{Num: s, Den: 1})
	}
	return m
}

// memory is a Store; it checks that it is used as it says.
type memory struct {
	mu  sync.Mutex
	all map[string]Exchange
}

func newMemory() *memory { return &memory{all: map[string]Exchange{}} }

func (m *memory) Exchange(hash string) (*Exchange, error) {
	if !m.mu.TryLock() {
		return nil, errors.New("the store is used by two at once")
	}
	defer m.mu.Unlock()
	if x, ok := m.all[hash]; ok {
		return &x, nil
	}
	return nil, nil
}

func (m *memory) Record(x Exchange) error {
	if !m.mu.TryLock() {
		return errors.New("the store is used by two at once")
	}
	defer m.mu.Unlock()
	if _, twice := m.all[x.Hash]; twice {
		return fmt.Errorf("%s is recorded twice", x.Hash)
	}
	m.all[x.Hash] = x
	return nil
}

// heard collects what is said.
type heard []string

func (h *heard) say(format string, args ...any) { *h = append(*h, fmt.Sprintf(format, args...)) }

// script writes a program for sh and is a Command that runs it.
func script(t testing.TB, text string) Command {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "propose.sh"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Command{Calling: Calling{Name: "script", Timeout: time.Minute, Parallel: 4}, Argv: []string{"sh", "propose.sh"}, Dir: dir}
}

func proposers(t testing.TB, c Ceilings, store Store, sources ...Source) (*Proposers, *heard) {
	t.Helper()
	h := &heard{}
	p, err := New(Task{Text: "pack well", File: "agent.scm", Grammar: policies(), Cases: []string{"easy", "hard"}}, sources, c, store, h.say)
	if err != nil {
		t.Fatal(err)
	}
	p.base, p.limit, p.patience = time.Millisecond, 2*time.Millisecond, 24*time.Hour
	return p, h
}

// round asks a proposer for n children of (- item remaining).
func round(t testing.TB, name string, n int) ga.Round {
	g := policies()
	parent := member(t, g, "(- item remaining)", 0.5, 2)
	r := ga.Round{Generation: 3, Tried: func(hash string) bool { return hash == parent.Genome.Hash() }, Near: []*population.Genome{parent.Genome}}
	for i := range n {
		r.Asks = append(r.Asks, ga.Ask{Proposer: name, Seed: uint64(i + 1), Parent: parent, Inspirations: []ga.Member{member(t, g, "(* item remaining)", 1, 1)}})
	}
	return r
}

func sources(genomes []*population.Genome) []string {
	var all []string
	for _, g := range genomes {
		if g == nil {
			all = append(all, "")
		} else {
			all = append(all, g.Expr())
		}
	}
	return all
}

func propose(t testing.TB, p *Proposers, r ga.Round) []string {
	t.Helper()
	genomes, err := p.Propose(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return sources(genomes)
}

// Who waits for a round is told how far it is.
func TestSlowRoundsAreToldOf(t *testing.T) {
	told := filepath.Join(t.TempDir(), "told")
	p, h := proposers(t, Ceilings{}, newMemory(), script(t, `until [ -e `+told+` ]; do sleep 0.01; done; echo '(+ item 0.25)'`))
	p.patience = 10 * time.Millisecond
	p.say = func(format string, args ...any) {
		h.say(format, args...)
		if err := os.WriteFile(told, nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	if got := propose(t, p, round(t, "script", 2)); got[0] == "" {
		t.Errorf("%q", got)
	}
	if len(*h) == 0 || (*h)[0] != "0 of 2 requests to proposers are over" {
		t.Errorf("told %q", *h)
	}
}

func TestCommandProposes(t *testing.T) {
	c := script(t, `cat >request.json; echo '{"definition": "(define (priority item remaining) (+ item 0.5))", "note": "why not"}'`)
	store := newMemory()
	p, _ := proposers(t, Ceilings{}, store, c)
	if got := propose(t, p, round(t, "script", 1)); got[0] != "(+ item 0.5)" {
		t.Errorf("%q", got)
	}
	data, err := os.ReadFile(filepath.Join(c.Dir, "request.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Request
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	fit, inspired := 1.25, 1.0
	want := Request{
		Version: "proposal/1", Seed: 1, Task: "pack well", Better: "lower", File: "agent.scm",
		Language: Language{
			Kind: "grammar", About: aboutGrammar, Definitions: []Definition{{Name: "priority", Args: []Arg{{"item", "real"}, {"remaining", "real"}}, Returns: "real"}},
			Functions: []string{"*", "+", "-", "max"}, Constants: []Range{{0, 1, false}}, MaxSize: 20, MaxDepth: 6,
		},
		Parent: Parent{
			Hash: parse(t, policies(), "(- item remaining)").Hash(), Source: "(define (priority item remaining) (- item remaining))",
			Fitness: &fit, Status: "ok", Scores: []Score{{"easy", 0.5}, {"hard", 2}},
		},
		Inspirations: []Example{{"(define (priority item remaining) (* item remaining))", &inspired}},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("the request is\n%+v, want\n%+v", r, want)
	}
	if u := p.Spent()[0]; u.Asked != 1 || u.Accepted != 1 || u.Calls != 1 || u.Replayed != 0 || len(u.Refused) != 0 {
		t.Errorf("%+v", u)
	}
	if len(store.all) != 1 {
		t.Errorf("%d exchanges are recorded", len(store.all))
	}
}

// What cannot be taken goes back with its reason once, and then is given up.
func TestRefusedOnce(t *testing.T) {
	long := "item" // 41 nodes
	for range 20 {
		long = "(+ item " + long + ")"
	}
	for name, c := range map[string]struct{ answer, class, reason string }{
		"nonsense":  {"I would rather not.", Unreadable, "there is no proposal in it"},
		"empty":     {"", Unreadable, "empty"},
		"broken":    {"(define (priority item remaining) (+ item", Invalid, "1:"},
		"unknown":   {"(define (priority item remaining) (sin item))", Invalid, "sin is not a primitive"},
		"forbidden": {"(define (priority item remaining) (sqrt item))", Invalid, "priority calls sqrt: use some of * + - max"},
		"signature": {"(define (priority item) item)", Invalid, "takes 1 arguments here"},
		"large":     {"(define (priority item remaining) " + long + ")", Large, "41 nodes and depth 21"},
		"parent":    {"(define (priority item remaining) ; new\n (- item remaining))", Tried, "it is the parent"},
		"measured":  {"(define (priority item remaining) (max item remaining))", Tried, "measured in this run already"},
		"near":      {"(define (priority item remaining) (+ item 0.123412))", Near, "a genome that the run has"},
		"no place":  {`{"edits": [{"search": "(+", "replace": "(-"}]}`, Misplaced, "occurs 0 times"},
		"places":    {`{"edits": [{"search": "remaining", "replace": "item"}]}`, Misplaced, "occurs 2 times"},
		"both":      {`{"definition": "(+ item 1)", "edits": [{"search": "-", "replace": "+"}]}`, Unreadable, "give one of them"},
		"control":   {"(define (priority item remaining) (\x1b[31m item))", Invalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			command := script(t, `cat >>requests.json; cat answer`)
			if err := os.WriteFile(filepath.Join(command.Dir, "answer"), []byte(c.answer), 0o600); err != nil {
				t.Fatal(err)
			}
			p, _ := proposers(t, Ceilings{}, newMemory(), command)
			r := round(t, "script", 1)
			tried := parse(t, policies(), "(max item remaining)").Hash()
			r.Tried = func(hash string) bool { return hash == tried }
			r.Near = append(r.Near, parse(t, policies(), "(+ item 0.1234)"))
			if got := propose(t, p, r); got[0] != "" {
				t.Errorf("accepted %s", got[0])
			}
			if u := p.Spent()[0]; u.Refused[c.class] != 2 || u.GivenUp != 1 || u.Accepted != 0 || u.Calls != 2 {
				t.Errorf("%+v", u)
			}
			data, _ := os.ReadFile(filepath.Join(command.Dir, "requests.json"))
			lines := strings.Split(strings.TrimSpace(string(data)), "\n")
			if len(lines) != 2 {
				t.Fatalf("asked %d times", len(lines))
			}
			var first, second Request
			for i, to := range []*Request{&first, &second} {
				if err := json.Unmarshal([]byte(lines[i]), to); err != nil {
					t.Fatal(err)
				}
			}
			if first.Refused != nil || second.Refused == nil {
				t.Fatalf("refused is %v, then %v", first.Refused, second.Refused)
			}
			if !strings.Contains(second.Refused.Reason, c.reason) || !strings.Contains(second.Refused.Answer, strings.TrimSpace(strings.ReplaceAll(c.answer, "\x1b", `\x1b;`))) {
				t.Errorf("it went back with %+v", second.Refused)
			}
			if strings.ContainsRune(second.Refused.Reason+second.Refused.Answer, 0x1b) {
				t.Errorf("a control character went through: %+v", second.Refused)
			}
		})
	}
}

func TestSecondTryIsTaken(t *testing.T) {
	c := script(t, `if grep -q '"refused"'; then echo '{"edits": [{"search": "(- item", "replace": "(- 1"}, {"search": "(- 1", "replace": "(+ (* 2 item)"}]}'; else echo no; fi`)
	p, _ := proposers(t, Ceilings{}, newMemory(), c)
	if got := propose(t, p, round(t, "script", 1)); got[0] != "(+ (* 2. item) remaining)" {
		t.Errorf("%q", got)
	}
	if u := p.Spent()[0]; u.Refused[Unreadable] != 1 || u.GivenUp != 0 || u.Accepted != 1 {
		t.Errorf("%+v", u)
	}
}

// Two asks with one answer: the first has it, the second is told.
func TestOneRoundHasNoTwins(t *testing.T) {
	c := script(t, `if grep -q '"refused"'; then echo '(max item 0.25)'; else echo '(+ item 0.75)'; fi`)
	p, _ := proposers(t, Ceilings{}, newMemory(), c)
	got := propose(t, p, round(t, "script", 3))
	if want := []string{"(+ item 0.75)", "(max item 0.25)", ""}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if u := p.Spent()[0]; u.Refused[Tried] != 3 || u.GivenUp != 1 || u.Accepted != 2 {
		t.Errorf("%+v", u)
	}
}

// Equal requests are one exchange, which is recorded once.
func TestEqualAsksAreOneExchange(t *testing.T) {
	c := script(t, `echo '(+ item 0.75)'`)
	p, _ := proposers(t, Ceilings{}, newMemory(), c)
	r := round(t, "script", 2)
	r.Asks[1].Seed = r.Asks[0].Seed
	if got := propose(t, p, r); got[0] == "" || got[1] != "" {
		t.Errorf("%q", got)
	}
	if u := p.Spent()[0]; u.Calls != 2 || u.Accepted != 1 {
		t.Errorf("%+v", u)
	}
}

// counted answers with a policy of its own for each seed and notes each call.
const counted = `echo call >>calls; sed 's/.*"seed":\([0-9]*\),.*/(+ item (* remaining \1))/'`

func count(t testing.TB, c Command) int {
	data, _ := os.ReadFile(filepath.Join(c.Dir, "calls"))
	return strings.Count(string(data), "\n")
}

func TestReplayMakesNoCall(t *testing.T) {
	c, store := script(t, counted), newMemory()
	p, _ := proposers(t, Ceilings{Calls: 100}, store, c)
	first := propose(t, p, round(t, "script", 8))
	calls := count(t, c)
	again, _ := proposers(t, Ceilings{Calls: 100}, store, c)
	second := propose(t, again, round(t, "script", 8))
	if calls != 8 || count(t, c) != calls {
		t.Errorf("%d calls, then %d more", calls, count(t, c)-calls)
	}
	if !reflect.DeepEqual(first, second) || first[7] == "" {
		t.Errorf("%q, then %q", first, second)
	}
	a, b := p.Spent()[0], again.Spent()[0]
	if b.Replayed != 8 {
		t.Errorf("%d replayed", b.Replayed)
	}
	if b.Replayed = 0; !reflect.DeepEqual(a, b) {
		t.Errorf("%+v, replayed %+v", a, b)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "propose.sh"), []byte(counted+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	changed, _ := proposers(t, Ceilings{}, store, c)
	if propose(t, changed, round(t, "script", 8)); count(t, c) != 2*calls {
		t.Error("the answers of another program were taken for its own")
	}
}

// What is recorded does not hang on how many are asked at a time.
func TestParallelChangesNothing(t *testing.T) {
	all := map[int]map[string]Exchange{}
	c := script(t, counted)
	for _, parallel := range []int{1, 7} {
		c.Parallel = parallel
		store := newMemory()
		p, _ := proposers(t, Ceilings{}, store, c)
		propose(t, p, round(t, "script", 8))
		all[parallel] = store.all
	}
	if !reflect.DeepEqual(all[1], all[7]) || len(all[1]) != 8 {
		t.Errorf("%v\n%v", all[1], all[7])
	}
}

func TestCommandsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		failure string
		calls   int
	}{
		"status":     {"echo \"why \x1b[2J\" >&2; echo call >>calls; exit 3", `it ended with exit status 3: why \x1b;[2J`, 3},
		"flood":      {"echo call >>calls; while :; do echo '(((((((((((((((((((((((((((((((('; done", "it wrote more than 1048576 bytes", 1},
		"hangs":      {"echo call >>calls; sleep 600 & wait", "no answer within 1s", 3},
		"grandchild": {"echo call >>calls; (sleep 600; sleep 600) & sleep 600", "no answer within 1s", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := script(t, c.text)
			command.Retries, command.Timeout = 2, time.Minute
			if strings.Contains(c.failure, "within") {
				command.Timeout = time.Second
			}
			store := newMemory()
			p, h := proposers(t, Ceilings{}, store, command)
			if got := propose(t, p, round(t, "script", 1)); got[0] != "" {
				t.Errorf("accepted %s", got[0])
			}
			if n := count(t, command); n != c.calls {
				t.Errorf("%d attempts, want %d", n, c.calls)
			}
			for _, x := range store.all {
				if x.Failure != c.failure || x.Attempts != c.calls || x.Answer != nil {
					t.Errorf("recorded %+v", x)
				}
			}
			if u := p.Spent()[0]; u.Failed != 1 || u.Calls != c.calls || len(store.all) != 1 {
				t.Errorf("%+v, %d recorded", u, len(store.all))
			}
			if len(*h) != 1 || !strings.Contains((*h)[0], "proposer script: 1 of 1 requests of this generation failed, the last: "+c.failure) {
				t.Errorf("said %q", *h)
			}
			again, _ := proposers(t, Ceilings{}, store, command)
			if propose(t, again, round(t, "script", 1)); count(t, command) != c.calls {
				t.Error("a failure that the store tells was tried again")
			}
		})
	}
}

func TestCommandThatIsNotThere(t *testing.T) {
	c := Command{Calling: Calling{Name: "script", Timeout: time.Minute, Parallel: 1}, Argv: []string{"./no-such"}, Dir: t.TempDir()}
	p, _ := proposers(t, Ceilings{}, newMemory(), c)
	if _, err := p.Propose(t.Context(), round(t, "script", 1)); err == nil || !strings.Contains(err.Error(), "proposer script: starting ./no-such") || !strings.Contains(err.Error(), "name a program that is there") {
		t.Errorf("%v", err)
	}
}

// A variable that a program gets is in nothing that it says.
func TestCommandKeepsItsKey(t *testing.T) {
	const secret = "sk-very/secret+key"
	t.Setenv("PROPOSER_KEY", secret)
	for name, text := range map[string]string{"answer": `echo "{\"note\": \"$PROPOSER_KEY\", \"definition\": \"(+ item 2)\"}"`, "failure": `echo "bad key $PROPOSER_KEY" >&2; exit 1`} {
		c, store := script(t, text), newMemory()
		c.Env = []string{"PROPOSER_KEY"}
		p, h := proposers(t, Ceilings{}, store, c)
		got := propose(t, p, round(t, "script", 1))
		if (got[0] != "") != (name == "answer") {
			t.Errorf("%s: %q", name, got)
		}
		for _, x := range store.all {
			if shown := fmt.Sprintf("%+v %s %s %v", x, x.Answer, x.Request, *h); strings.Contains(shown, secret) || !strings.Contains(shown, hidden) {
				t.Errorf("%s: %s", name, shown)
			}
		}
	}
}

func TestStopEndsTheRound(t *testing.T) {
	c := script(t, "echo call >>calls; sleep 600")
	store := newMemory()
	p, _ := proposers(t, Ceilings{}, store, c)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	go func() {
		for count(t, c) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel(stopped)
	}()
	if _, err := p.Propose(ctx, round(t, "script", 2)); !errors.Is(err, stopped) || len(store.all) != 0 {
		t.Errorf("%v, %d recorded", err, len(store.all))
	}
}

func TestNewNamesAllFaults(t *testing.T) {
	hot := 3.0
	_, err := New(Task{Grammar: policies()}, []Source{
		Command{Calling: Calling{Name: "a", Retries: -1, Parallel: 1}},
		Chat{Calling: Calling{Name: "b", Timeout: 1}, URL: "http://me:secret@host/v1", MaxTokens: 0, Temperature: &hot, User: "{{.Nothing}}", LimitName: "most", PriceIn: -1},
	}, Ceilings{}, newMemory(), (&heard{}).say)
	for _, want := range []string{`"a": timeout 0s`, `"a": retries -1`, `"a": it has no command`, `"b": parallel 0`, `"b": its url has a password`, `"b": it names no model`, `"b": max-tokens 0`, `"b": temperature 3`, `"b": template: user prompt`, `"b": its limit is called "most"`, `"b": prices of -1`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is shown: %v", err)
	}
	twin := script(t, "")
	if _, err := New(Task{Grammar: policies()}, []Source{twin, twin}, Ceilings{}, newMemory(), (&heard{}).say); err == nil || !strings.Contains(err.Error(), `two proposers are named "script"`) {
		t.Errorf("%v", err)
	}
}

// A definition may be data: its items are counted, not its nodes.
func TestListsAreProposed(t *testing.T) {
	c := script(t, `cat >request.json; if grep -q '"refused"' request.json; then echo "'((0 1) (2 3))"; else echo "'((0 1) (1 2) (2 3) (0 3))"; fi`)
	g := &population.Grammar{
		Definitions: []population.Definition{{Name: "network", Result: population.List, Shape: &population.Shape{High: 3, Of: 2, Rising: true, Min: 1, Max: 3}}},
		MaxDepth:    2, MaxSize: 3,
	}
	p, err := New(Task{Grammar: g}, []Source{c}, Ceilings{}, newMemory(), (&heard{}).say)
	if err != nil {
		t.Fatal(err)
	}
	r := ga.Round{Tried: func(string) bool { return false }, Asks: []ga.Ask{{Proposer: "script", Parent: member(t, g, "'((0 3))", 1)}}}
	if got := propose(t, p, r); got[0] != "(quote ((0 1) (2 3)))" {
		t.Errorf("%q", got)
	}
	data, err := os.ReadFile(filepath.Join(c.Dir, "request.json"))
	if err != nil || !strings.Contains(string(data), "network has 4 items: use 1 to 3") || !strings.Contains(string(data), `"args":[],"returns":"list","items":{"low":0,"high":3,"of":2,"rising":true,"min":1,"max":3}`) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestRequestOfAFailedParent(t *testing.T) {
	p, _ := proposers(t, Ceilings{}, newMemory(), script(t, ""))
	m := ga.Member{Genome: parse(t, policies(), "(sqrt item)"), Outcome: population.Outcome{Status: population.Crash, Detail: strings.Repeat("x\x07\u202e", 10_000)}}
	r := p.request(ga.Ask{Seed: 1<<63 + 5, Parent: m})
	if r.Parent.Fitness != nil || r.Parent.Status != "crash" || r.Seed != 5 || len(r.Parent.Failures) > maxFailures+10 || !strings.HasPrefix(r.Parent.Failures, `x\x7;\x202e;x`) {
		t.Errorf("%+v", r)
	}
	if !reflect.DeepEqual(r.Language.Functions, []string{"*", "+", "-", "max", "sqrt"}) {
		t.Errorf("the parent's own functions are not allowed: %v", r.Language.Functions)
	}
	p.task.Grammar = &population.Grammar{Open: true, Definitions: []population.Definition{{Name: "priority"}}}
	m.Genome = parse(t, p.task.Grammar, "(define (priority item remaining) item)")
	p.task.Names = []string{"agent-handle"}
	l := p.request(ga.Ask{Parent: m}).Language
	if l.Kind != "open" || l.Functions != nil || l.MaxSize != 0 || l.Names[0] != "agent-handle" || !reflect.DeepEqual(l.Definitions, []Definition{{Name: "priority"}}) {
		t.Errorf("%+v", l)
	}
}

// Spent and Restore: a ceiling holds over a run, not over a process.
func TestCeilingOverAResumedRun(t *testing.T) {
	c := script(t, counted)
	p, _ := proposers(t, Ceilings{Calls: 5}, newMemory(), c)
	propose(t, p, round(t, "script", 3))
	resumed, _ := proposers(t, Ceilings{Calls: 5}, newMemory(), c)
	if err := resumed.Restore(p.Spent()); err != nil {
		t.Fatal(err)
	}
	got := propose(t, resumed, round(t, "script", 3))
	if got[1] == "" || got[2] != "" || count(t, c) != 5 || !resumed.Exhausted() || p.Exhausted() {
		t.Errorf("%q after %d calls", got, count(t, c))
	}
	if u := resumed.Spent()[0]; u.Calls != 5 || u.NoRoom != 1 || u.Asked != 6 {
		t.Errorf("%+v", u)
	}
	if err := resumed.Restore([]Usage{{Proposer: "gone"}}); err == nil || !strings.Contains(err.Error(), `"gone"`) {
		t.Errorf("%v", err)
	}
}

// lostStore is a store that fails.
type lostStore struct{ read, write error }

func (b lostStore) Exchange(string) (*Exchange, error) { return nil, b.read }
func (b lostStore) Record(Exchange) error              { return b.write }

func TestStoreThatFailsEndsTheRun(t *testing.T) {
	c, lost := script(t, counted), errors.New("the ledger is lost")
	for _, store := range []lostStore{{read: lost}, {write: lost}} {
		p, _ := proposers(t, Ceilings{}, store, c)
		if _, err := p.Propose(t.Context(), round(t, "script", 2)); !errors.Is(err, lost) {
			t.Errorf("%v", err)
		}
	}
}

func TestPauses(t *testing.T) {
	p := &Proposers{base: firstPause, limit: longestPause}
	for attempt, bound := range map[int]time.Duration{1: time.Second, 3: 4 * time.Second, 7: time.Minute, 1000: time.Minute} {
		least, most := time.Hour, time.Duration(0)
		for range 1000 {
			d := p.pause(attempt, 0)
			least, most = min(least, d), max(most, d)
		}
		if least < 0 || most > bound || least > bound/10 || most < bound-bound/10 {
			t.Errorf("after attempt %d it pauses from %v to %v, want from 0 to %v", attempt, least, most, bound)
		}
	}
}

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain\n\ttext é": "plain\n\ttext é", "\x1b[2J\x00\x7f": `\x1b;[2J\x0;\x7f;`, "a\u202eb\u200bc": `a\x202e;b\x200b;c`,
		"\xff": "\uFFFD", strings.Repeat("a", 50): strings.Repeat("a", 40) + " ...",
	} {
		if got := Visible(text, 40); got != want {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
}

func TestNearness(t *testing.T) {
	program := func(n int, local, last string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "(define (f x) (let ((%s x)) (list %s", local, local)
		for i := range n {
			b.WriteString(" w" + strconv.Itoa(i))
		}
		return b.String() + " " + last + ")))"
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{program(5, "y", "1.5"), program(5, "other", "1.5"), true}, // renamed
		{program(5, "y", "1.50001"), program(5, "y", "1.5"), true}, // the fifth digit
		{program(5, "y", "1.501"), program(5, "y", "1.5"), false},  // the fourth
		{program(500, "y", "1"), program(500, "y", "2"), false},    // one word in a middling text
		{program(800, "y", "1"), program(800, "y", "2"), true},     // in a long one
		{program(800, "y", "1"), program(700, "y", "1"), false},    // a part less
		{"(define (f x) 'x)", "(define (f x) 'y)", false},          // data
		{"(define (f x) \"a b\")", "(define (f x) \"a  b\")", false},
		{"(define (f x) \"a b\")", "(define (f x) \"a c\")", false},                              // in a string
		{"(define (f x) #(1 2))", "(define (f x) #(1 3))", false},                                // in a vector
		{"(define (f x) (g x))", "(define (f x) (h x))", false},                                  // a global name
		{"(define (f . x) (g x))", "(define (f . y) (g y))", true},                               // a rest argument
		{"(define (f x) (define (g y) y) (g x))", "(define (f x) (define (h z) z) (h x))", true}, // inner definitions
		{"(define (f x) (let l ((i 0)) (l i)))", "(define (f x) (let m ((j 0)) (m j)))", true},   // a loop
		{"(define (f x) (do ((i 0)) (#t i)))", "(define (f x) (do ((j 0)) (#t j)))", true},
		{"(define (f x) (lambda args args))", "(define (f x) (lambda all all))", true},
	} {
		if got := near(sketch(c.a), sketch(c.b)); got != c.want {
			t.Errorf("near is %v:\n%.80s\n%.80s", got, c.a, c.b)
		}
	}
}
