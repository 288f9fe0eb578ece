package journal

import (
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"jird/snapshots"
	"jird/snapshots/sexpr"
)

func read(t testing.TB, src string) sexpr.Value {
	t.Helper()
	v, err := sexpr.Read([]byte(src))
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return v
}

// every record kind, with all fields set.
func samples(t testing.TB) []Record {
	id := func(c string) snapshots.ID { return snapshots.ID(strings.Repeat(c, 64)) }
	return []Record{
		&Call{ID: "a", Body: "b", Time: 3, Reply: Reply{Status: OK, Value: read(t, "(x . 1)")}, Writes: []Write{{read(t, "k"), read(t, "(1 2.5 \"s\")")}, {Key: read(t, "(bin 3)")}}, Proposals: []Proposal{{Name: "f", Expr: read(t, "(+ x 1)")}}, Overlay: "o"},
		&Call{Reply: Reply{Status: Raised, Text: "no"}},
		&Call{ID: "z", Reply: Reply{Status: Failed, Text: "killed the agent twice"}},
		&Begin{1, Forced, id("a"), id("b"), "why", 5}, &Step{1, "split 10"}, &Accept{1}, &Done{1}, &Reject{1, "worse"},
		&Start{7, 8}, &Restart{9, 10, "signal 9"}, &Verdict{1, true, "better"}, &Loss{4, 11, "journal gone"},
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	for _, r := range samples(t) {
		b, err := Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if c, ok := got.(*Call); ok {
			build(t, c)
		}
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s came back as %+v (%v)", b, got, err)
		}
	}
}

// build makes values of the texts in a call that was decoded.
func build(t testing.TB, c *Call) {
	value(t, &c.Reply.Value)
	for i := range c.Writes {
		value(t, &c.Writes[i].Key)
		value(t, &c.Writes[i].Value)
	}
}

func value(t testing.TB, v *sexpr.Value) {
	if *v != nil {
		*v = read(t, string((*v).(sexpr.Text)))
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range samples(f) {
		b, err := Encode(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		if again, err := Encode(r); err != nil || string(again) != string(b) {
			t.Errorf("%q is written as %q (%v)", b, again, err)
		}
	})
}

func apply(t testing.TB, s *State, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := s.Apply(s.LSN+1, r); err != nil {
			t.Fatal(err)
		}
	}
}

func empty() *State {
	m, _ := NewMemory(sexpr.List{})
	return NewState(m)
}

func datum(t testing.TB, m *Memory) string {
	t.Helper()
	b, err := sexpr.Canonical(m.Datum())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func set(t testing.TB, id, key, value string) *Call {
	return &Call{ID: id, Body: id + value, Reply: Reply{Status: OK, Value: read(t, "done")}, Writes: []Write{{read(t, key), read(t, value)}}}
}

func TestCallsChangeMemoryAndAreRemembered(t *testing.T) {
	s := empty()
	apply(t, s, set(t, "1", "k", "(1 2)"), set(t, "2", "(bin 3)", "4."), set(t, "3", "k", "()"), &Call{ID: "4", Reply: Reply{Status: OK, Value: read(t, "#t")}, Writes: []Write{{Key: read(t, "(bin 3)")}}})
	if got := datum(t, s.Memory); got != "((k))" || s.Sets != 4 {
		t.Errorf("memory %s after %d sets", got, s.Sets)
	}
	reply, lsn, found, err := s.Calls.Find("2", "24.")
	if err != nil || !found || lsn != 2 || reply.Status != OK {
		t.Errorf("%+v %d %v %v", reply, lsn, found, err)
	}
	if _, _, _, err := s.Calls.Find("2", "other"); !errors.Is(err, ErrOtherBody) {
		t.Error(err)
	}
	if err := s.Apply(5, set(t, "2", "k", "1")); err == nil {
		t.Error("a call was applied twice")
	}
	if err := s.Apply(9, set(t, "9", "k", "1")); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Error(err)
	}
}

func TestCallsAreForgotten(t *testing.T) {
	s := empty()
	for i := range 10 {
		c := set(t, fmt.Sprint(i), "k", "1")
		c.Time = int64(i) * (RememberFor / 4).Milliseconds()
		apply(t, s, c)
	}
	if s.Calls.Len() != 5 {
		t.Errorf("%d calls are remembered", s.Calls.Len())
	}
	if _, _, found, _ := s.Calls.Find("4", "41"); found {
		t.Error("an old call is still known")
	}
}

// randomRecords is a history as a guard could write it.
func randomRecords(rng *rand.Rand, t testing.TB, n int) []Record {
	var all []Record
	s := empty()
	add := func(r Record) {
		apply(t, s, r)
		all = append(all, r)
	}
	live := snapshots.ID(strings.Repeat("0", 64))
	for len(all) < n {
		a := s.Attempt()
		switch k := rng.Intn(20); {
		case k == 0 && a == nil:
			to := snapshots.ID(fmt.Sprintf("%064x", rng.Int63()))
			add(&Begin{s.NextAttempt(), Promotion, live, to, "", 0})
		case k == 1 && a != nil && !a.Accepted:
			add(&Step{a.N, "mirror"})
		case k == 2 && a != nil && !a.Accepted:
			add(&Reject{a.N, "worse"})
		case k == 3 && a != nil:
			add(&Accept{a.N})
			live = a.To
			add(&Done{a.N})
		case k == 4:
			add(&Restart{1, 2, "signal 9"})
		default:
			c := set(t, fmt.Sprint(len(all)), fmt.Sprintf("(k %d)", rng.Intn(50)), fmt.Sprint(rng.Intn(1000)))
			if rng.Intn(4) == 0 {
				c.Writes[0].Value = nil
			}
			if rng.Intn(9) == 0 {
				c.Proposals = []Proposal{{Name: "f", Expr: read(t, "1.")}}
			}
			add(c)
		}
	}
	return all
}

// A checkpoint at any moment, and the records after it, give the same state as
// all records; and the state goes on changing while it is written.
func TestCheckpointAndRestGiveTheSameState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rng := rand.New(rand.NewSource(rapid.Int64().Draw(rt, "seed")))
		records := randomRecords(rng, t, 120)
		cut := rng.Intn(len(records))
		whole := empty()
		apply(t, whole, records[:cut]...)
		frozen := whole.Freeze()
		apply(t, whole, records[cut:]...) // while it is being written
		parts, err := frozen.Parts()
		if err != nil {
			rt.Fatal(err)
		}
		whole.Memory.Thaw()
		restored, err := Restore(frozen.LSN, parts)
		if err != nil {
			rt.Fatal(err)
		}
		apply(t, restored, records[cut:]...)
		if a, b := datum(t, whole.Memory), datum(t, restored.Memory); a != b {
			rt.Fatalf("memory %s\nrestored %s", a, b)
		}
		if whole.Memory.Bytes() != restored.Memory.Bytes() {
			rt.Fatalf("%d bytes, restored %d", whole.Memory.Bytes(), restored.Memory.Bytes())
		}
		one, two := whole.Freeze(), restored.Freeze()
		a, errA := one.Parts()
		b, errB := two.Parts()
		if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
			rt.Fatalf("the states differ (%v, %v)", errA, errB)
		}
	})
}

// A change of one key changes one piece.
func TestPiecesAreStable(t *testing.T) {
	m, _ := NewMemory(sexpr.List{})
	for i := range 20_000 {
		m.set(fmt.Sprintf("(key %d)", i), fmt.Sprintf("(a value with number %d)", i))
	}
	before := Frozen{m.values, m.bytes}.Pieces()
	m.set("(key 77)", "(another valuer of the size, 77)")
	after := Frozen{m.values, m.bytes}.Pieces()
	changed := 0
	for i := range before {
		if string(before[i]) != string(after[i]) {
			changed++
		}
	}
	if len(before) < 8 || len(before) != len(after) || changed != 1 {
		t.Errorf("%d pieces, then %d; %d changed", len(before), len(after), changed)
	}
}

// A value may be larger than a piece.
func TestLargeValuesAreSplit(t *testing.T) {
	s := empty()
	for i, size := range []int{10, maxPiece - 20, maxPiece, 3*maxPiece + 5} {
		c := set(t, fmt.Sprint(i), fmt.Sprintf("k%d", i), `"`+strings.Repeat("x", size)+`"`)
		apply(t, s, c)
	}
	before := datum(t, s.Memory)
	parts, err := s.Freeze().Parts()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		for _, piece := range p.Pieces {
			if len(piece) > maxPiece {
				t.Errorf("a piece of %s has %d bytes", p.Name, len(piece))
			}
		}
	}
	again, err := Restore(s.LSN, parts)
	if err != nil {
		t.Fatal(err)
	}
	if datum(t, again.Memory) != before {
		t.Error("the memory came back otherwise")
	}
}

func TestPromotions(t *testing.T) {
	a, b, c := snapshots.ID("a"), snapshots.ID("b"), snapshots.ID("c")
	s := empty()
	apply(t, s, &Begin{1, Promotion, a, b, "", 0})
	for _, wrong := range []Record{&Done{1}, &Begin{2, Promotion, a, c, "", 0}, &Accept{2}} {
		if err := s.Apply(s.LSN+1, wrong); err == nil {
			t.Errorf("%T was accepted", wrong)
		}
		s.LSN--
	}
	apply(t, s, &Accept{1}, &Done{1}, &Begin{2, Forced, b, c, "", 0}, &Accept{2}, &Done{2})
	if s.Totals.Attempts != 2 || s.Totals.Held != 2 || s.Restorable() != b {
		t.Errorf("%+v, back to %s", s.Totals, s.Restorable())
	}
	apply(t, s, &Begin{3, Rollback, c, b, "", 0}, &Accept{3}, &Done{3})
	if s.Totals.Held != 1 || s.Restorable() != a || !s.Promotions[1].Undone || s.Promotions[0].Undone {
		t.Errorf("%+v, back to %s", s.Totals, s.Restorable())
	}
	apply(t, s, &Begin{4, Promotion, b, c, "", 0}, &Accept{4}, &Done{4}, &Begin{5, Rollback, c, a, "", 0}, &Accept{5}, &Done{5})
	if s.Totals.Held != 0 || s.Restorable() != "" {
		t.Errorf("%+v, back to %s", s.Totals, s.Restorable())
	}
}

// Canary state is the agent's only once its version is.
func TestOverlaysAreFoldedOrDropped(t *testing.T) {
	for _, accept := range []bool{true, false} {
		s := empty()
		w := set(t, "2", "k", "2")
		w.Overlay = "someone"
		apply(t, s, set(t, "1", "k", "1"), &Begin{1, Promotion, "a", "b", "", 0}, w)
		if got := datum(t, s.Memory); got != "((k . 1))" || len(s.Overlays.Of("someone")) != 1 || len(s.Overlays.Of("other")) != 0 || s.CanFreeze() {
			t.Errorf("memory %s", got)
		}
		want := "((k . 1))"
		if accept {
			want = "((k . 2))"
			apply(t, s, &Accept{1}, &Done{1})
		} else {
			apply(t, s, &Reject{1, "worse"})
		}
		if got := datum(t, s.Memory); got != want || !s.CanFreeze() {
			t.Errorf("accepted %v: memory %s", accept, got)
		}
	}
}
