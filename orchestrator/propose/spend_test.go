package propose

import (
	"context"
	"fmt"
	"hash/fnv"
	"reflect"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"jird/population"
	"jird/population/ga"
)

// fake is a source whose attempts cost anything up to what it said, and fail as they like;
// what they do follows from the request and the number of the attempt.
type fake struct {
	Calling
	most  cost
	moody uint64 // of ten attempts, how many fail
	mu    sync.Mutex
	tries map[string]uint64
	spent cost
}

func (f *fake) open() (source, error)     { return f, nil }
func (f *fake) calling() Calling          { return f.Calling }
func (f *fake) identity() ([]byte, error) { return []byte(f.Name), nil }
func (f *fake) prepare(r Request, encoded []byte) ([]byte, cost, error) {
	most := f.most
	most.in += int64(r.Seed % 3)
	return encoded, most, nil
}

func (f *fake) attempt(_ context.Context, body []byte) ([]byte, cost, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries[string(body)]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", body, f.tries[string(body)])
	luck := h.Sum64() / 7
	c := cost{1, int64(luck % uint64(f.most.in+1)), int64(luck / 100 % uint64(f.most.out+1)), int64(luck / 10000 % uint64(f.most.micros+1))}
	if luck%3 == 0 {
		c = f.most
	}
	f.spent = f.spent.plus(c)
	if luck/13%10 < f.moody {
		return nil, c, &failure{text: "a mood", again: luck%4 > 0}
	}
	return fmt.Appendf(nil, "(+ item (* remaining %d))", luck%50), c, nil
}

// No ceiling is passed, whatever attempts cost and however they fail; and who replays a run
// gets what it got, without an attempt, and the same account.
func TestCeilingsHold(t *testing.T) {
	g := policies()
	parent := ga.Member{Genome: parse(t, g, "(- item remaining)"), Outcome: population.Outcome{Status: population.OK}}
	rapid.Check(t, func(t *rapid.T) {
		number := func(name string, most int) int { return rapid.IntRange(0, most).Draw(t, name) }
		ceilings := Ceilings{number("calls", 30), int64(number("tokens", 500)), int64(number("money", 500))}
		var all []*fake
		for i := range rapid.IntRange(1, 2).Draw(t, "sources") {
			all = append(all, &fake{
				Calling: Calling{Name: fmt.Sprint("fake", i), Timeout: time.Minute, Retries: number("retries", 4), Parallel: rapid.IntRange(1, 4).Draw(t, "parallel")},
				most:    cost{1, int64(number("in", 20)), int64(number("out", 20)), int64(number("price", 30))},
				moody:   uint64(number("moody", 10)),
			})
		}
		var rounds []ga.Round
		for i := range 6 {
			r := ga.Round{Tried: func(string) bool { return false }}
			for j := range number("asks", 6) {
				r.Asks = append(r.Asks, ga.Ask{Proposer: all[j%len(all)].Name, Seed: uint64(100*i + j), Parent: parent})
			}
			rounds = append(rounds, r)
		}
		store := newMemory()
		run := func() (made []string, usage []Usage, spent cost) {
			var open []Source
			for _, f := range all {
				f.tries, f.spent = map[string]uint64{}, cost{}
				open = append(open, f)
			}
			p, err := New(Task{Grammar: g}, open, ceilings, store, (&heard{}).say)
			if err != nil {
				t.Fatal(err)
			}
			p.base, p.limit = 0, 0
			for _, r := range rounds {
				genomes, err := p.Propose(context.Background(), r)
				if err != nil {
					t.Fatal(err)
				}
				made = append(made, sources(genomes)...)
			}
			for _, f := range all {
				spent = spent.plus(f.spent)
			}
			return made, p.Spent(), spent
		}
		made, usage, spent := run()
		told := cost{}
		for _, u := range usage {
			told = told.plus(u.cost())
		}
		if told != spent {
			t.Fatalf("%+v was spent, it tells %+v", spent, told)
		}
		if c := ceilings; c.Calls > 0 && spent.calls > c.Calls || c.Tokens > 0 && spent.in+spent.out > c.Tokens || c.Micros > 0 && spent.micros > c.Micros {
			t.Fatalf("%+v was spent, over %+v", spent, c)
		}
		again, replayed, calls := run()
		for i := range replayed {
			replayed[i].Replayed, usage[i].Replayed = 0, 0
		}
		if calls.calls != 0 || !reflect.DeepEqual(again, made) || !reflect.DeepEqual(replayed, usage) {
			t.Fatalf("%q, replayed with %d calls %q\n%+v\n%+v", made, calls.calls, again, usage, replayed)
		}
	})
}

// A ceiling is used up to its last call, and then said to be.
func TestCeilingIsUsedUp(t *testing.T) {
	f := &fake{Calling: Calling{Name: "fake", Timeout: time.Minute, Retries: 3, Parallel: 2}, most: cost{calls: 1}, tries: map[string]uint64{}}
	p, _ := proposers(t, Ceilings{Calls: 11}, newMemory(), f)
	for i := range 20 {
		if i < 2 && p.Exhausted() {
			t.Fatal("exhausted too early")
		}
		r := round(t, "fake", 4)
		for j := range r.Asks {
			r.Asks[j].Seed += uint64(100 * i)
		}
		propose(t, p, r)
	}
	if f.spent.calls != 11 || !p.Exhausted() {
		t.Errorf("%d calls, exhausted %v", f.spent.calls, p.Exhausted())
	}
}

// Where the ceiling is of tokens, a source that wants many may have no room while another has.
func TestExhaustedIsEverySource(t *testing.T) {
	large := &fake{Calling: Calling{Name: "large", Timeout: time.Minute, Parallel: 1}, most: cost{calls: 1, in: 90, out: 20}, tries: map[string]uint64{}}
	small := &fake{Calling: Calling{Name: "small", Timeout: time.Minute, Parallel: 1}, most: cost{calls: 1, in: 5, out: 5}, tries: map[string]uint64{}}
	p, _ := proposers(t, Ceilings{Tokens: 100}, newMemory(), large, small)
	propose(t, p, round(t, "large", 1))
	if p.Exhausted() || large.spent.calls != 0 || p.Spent()[0].NoRoom != 1 {
		t.Errorf("%+v", p.Spent())
	}
	r := round(t, "small", 40)
	r.Asks = append(r.Asks, round(t, "large", 1).Asks...)
	for i := 0; !p.Exhausted(); i++ {
		for j := range r.Asks {
			r.Asks[j].Seed = uint64(100*i + j)
		}
		propose(t, p, r)
	}
	if n := small.spent.in + small.spent.out; n > 100 || n < 88 {
		t.Errorf("%d of 100 tokens were spent", n)
	}
}

// Where an endpoint does not say what an answer used, the most that it can have counts.
func TestUsageThatIsNotTold(t *testing.T) {
	made, err := model().open()
	if err != nil {
		t.Fatal(err)
	}
	c := made.(*chat)
	body, most, err := c.prepare(full(), nil)
	if err != nil || most != c.most(body) || most.out != 100 || most.in < int64(len("(define (f x) x)")) {
		t.Fatalf("%+v, %+v, %v", most, c.most(body), err)
	}
	for usage, want := range map[string]cost{
		`{"prompt_tokens": 3, "completion_tokens": 4}`:  {calls: 1, in: 3, out: 4},
		`{"prompt_tokens": -3, "completion_tokens": 4}`: most, `{"prompt_tokens": 3}`: most, `{}`: most, `null`: most,
		`{"prompt_tokens": 3000000000000000000, "completion_tokens": 1}`: most,
		`{"prompt_tokens": 100000, "completion_tokens": 1}`:              {calls: 1, in: 100000, out: 1}, // more than it could: it is what is charged
	} {
		text := `{"choices": [{"message": {"content": "x"}}], "usage": ` + usage + `}`
		if answer, got, err := c.read([]byte(text), body, key{}); got != want || err != nil || string(answer) != "x" {
			t.Errorf("%s counts as %+v, want %+v (%v)", usage, got, want, err)
		}
	}
	if n := price(1_000_001, 1, 3, 0.5); n != 3_000_004 {
		t.Errorf("a price of %d", n)
	}
	if text, err := encode("<&>"); string(text) != `"<&>"` || err != nil {
		t.Errorf("a sign is written by number: %s, %v", text, err)
	}
}
