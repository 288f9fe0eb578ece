// Package journal gives the guard's journal its meaning: what each record says,
// and the state that the records add up to.
//
// It is pure: bytes come from the journal and go to it elsewhere. Applying the
// same records in the same order gives the same state, so a state read from a
// checkpoint and the records after it is the state that was lost.
package journal

import (
	"fmt"

	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Record is one entry of the journal: a *Call, *Begin, *Step, *Accept, *Done,
// *Reject, *Start, *Restart, *Verdict or *Loss.
type Record interface {
	encode() sexpr.List
}

// Status is how a call ended.
type Status string

// The ways in which a call ends.
const (
	OK     Status = "ok"     // the agent answered
	Raised Status = "raised" // the agent raised an exception: an answer like another, without writes
	Failed Status = "failed" // the call killed the agent, twice
)

// Reply is what a caller gets.
type Reply struct {
	Status Status
	Value  sexpr.Value // when OK
	Text   string      // when not
}

// Write is one change of the agent's memory; a nil Value deletes.
type Write struct {
	Key, Value sexpr.Value
}

// Proposal is a definition that the agent wants to have changed.
type Proposal struct {
	LSN  uint64 // of the call that made it: its number
	Name string
	Expr sexpr.Value
}

// Call is one call that was carried out, with all that it did.
type Call struct {
	ID        string // the caller's, or empty: then it is not remembered
	Body      string // hexadecimal SHA-256 of the request's canonical form
	Time      int64  // when, in Unix milliseconds
	Reply     Reply
	Writes    []Write
	Proposals []Proposal // without numbers
	Overlay   string     // not empty: the writes belong to this caller's canary state
}

// Kind is why a version is to become live.
type Kind string

// The kinds of promotion.
const (
	Promotion Kind = "promotion" // by evidence
	Forced    Kind = "forced"    // by somebody's word, without evidence
	Rollback  Kind = "rollback"  // back to a version that was live
)

// The records of a promotion, in the order in which they may come. N counts an
// agent's promotions from 1.
type (
	// Begin starts promotion N. Nothing is live yet.
	Begin struct {
		N        int
		Kind     Kind
		From, To snapshots.ID
		Reason   string
		Time     int64
	}
	// Step is written before traffic moves: "mirror", "split 10", ...
	Step struct {
		N    int
		Name string
	}
	// Accept is the verdict. The swap of the live ref follows it.
	Accept struct{ N int }
	// Done says that the ref was swapped and traffic has moved.
	Done struct{ N int }
	// Reject ends promotion N with the incumbent live.
	Reject struct {
		N   int
		Why string
	}
)

type (
	// Start is the guard's own: it serves from here on.
	Start struct {
		Time int64
		// Gap is the time since the last record, in milliseconds, if the guard before
		// it did not end in order; 0 otherwise.
		Gap int64
	}
	// Restart says that the live process died and another took over.
	Restart struct {
		Time int64
		Took int64 // microseconds from the death's being noticed to the next process ready
		Why  string
	}
	// Verdict ends a proposal.
	Verdict struct {
		LSN      uint64 // the proposal's
		Promoted bool
		Why      string
	}
	// Loss says that somebody accepted that records from First on may be missing.
	Loss struct {
		First uint64
		Time  int64
		Why   string
	}
)

func integer[I int | int64 | uint64](n I) sexpr.Value { return sexpr.NewInt(int64(n)) }

func text[S ~string](s S) sexpr.Value { return sexpr.String(s) }

func record(kind string, fields ...sexpr.Value) sexpr.List {
	return append(sexpr.List{sexpr.Symbol(kind)}, fields...)
}

func (r *Call) encode() sexpr.List {
	writes, proposals := sexpr.List{}, sexpr.List{}
	for _, w := range r.Writes {
		one := sexpr.List{w.Key}
		if w.Value != nil {
			one = append(one, w.Value)
		}
		writes = append(writes, one)
	}
	for _, p := range r.Proposals {
		proposals = append(proposals, sexpr.List{text(p.Name), p.Expr})
	}
	return record("call", text(r.ID), text(r.Body), integer(r.Time), r.Reply.encode(), writes, proposals, text(r.Overlay))
}

func (r Reply) encode() sexpr.Value {
	if r.Status == OK {
		return sexpr.List{text(r.Status), r.Value}
	}
	return sexpr.List{text(r.Status), text(r.Text)}
}

func (r *Begin) encode() sexpr.List {
	return record("begin", integer(r.N), text(r.Kind), text(r.From), text(r.To), text(r.Reason), integer(r.Time))
}
func (r *Step) encode() sexpr.List   { return record("step", integer(r.N), text(r.Name)) }
func (r *Accept) encode() sexpr.List { return record("accept", integer(r.N)) }
func (r *Done) encode() sexpr.List   { return record("done", integer(r.N)) }
func (r *Reject) encode() sexpr.List { return record("reject", integer(r.N), text(r.Why)) }
func (r *Start) encode() sexpr.List  { return record("start", integer(r.Time), integer(r.Gap)) }
func (r *Restart) encode() sexpr.List {
	return record("restart", integer(r.Time), integer(r.Took), text(r.Why))
}
func (r *Verdict) encode() sexpr.List {
	return record("verdict", integer(r.LSN), sexpr.Bool(r.Promoted), text(r.Why))
}
func (r *Loss) encode() sexpr.List {
	return record("loss", integer(r.First), integer(r.Time), text(r.Why))
}

// Encode writes a record in its canonical form.
func Encode(r Record) ([]byte, error) {
	b, err := sexpr.Canonical(r.encode())
	if err != nil {
		return nil, fmt.Errorf("encoding a journal record: %w", err)
	}
	return b, nil
}

// Decode reads what Encode wrote, and nothing else. What a call answered and wrote comes
// as sexpr.Text: a journal is replayed without looking into it.
func Decode(b []byte) (Record, error) {
	t, err := sexpr.DecodeText(b)
	if err != nil {
		return nil, fmt.Errorf("decoding a journal record: %w", err)
	}
	f := fieldsOf(t)
	if f.bad || f.rest == "" {
		return nil, fmt.Errorf("decoding a journal record: it is not a list")
	}
	kind := f.next()
	r := f.record(kind)
	if r == nil {
		return nil, fmt.Errorf("decoding a journal record: its kind is unknown to this jird; use a newer one")
	}
	if f.bad || f.rest != "" {
		return nil, fmt.Errorf("decoding a journal record: a %v record is not of its form", kind)
	}
	return r, nil
}

// fields takes a list apart from the left; bad stays set once a field was not what
// it must be.
type fields struct {
	rest sexpr.Text
	bad  bool
}

// fieldsOf begins with the first item of a list.
func fieldsOf(t sexpr.Text) *fields {
	inside, ok := t.Inside()
	return &fields{inside, !ok}
}

func (f *fields) record(kind sexpr.Text) Record {
	switch kind {
	case "call":
		return &Call{ID: f.text(), Body: f.text(), Time: f.integer(), Reply: f.reply(), Writes: f.writes(), Proposals: f.proposals(), Overlay: f.text()}
	case "begin":
		return &Begin{N: int(f.integer()), Kind: Kind(f.text()), From: snapshots.ID(f.text()), To: snapshots.ID(f.text()), Reason: f.text(), Time: f.integer()}
	case "step":
		return &Step{N: int(f.integer()), Name: f.text()}
	case "accept":
		return &Accept{N: int(f.integer())}
	case "done":
		return &Done{N: int(f.integer())}
	case "reject":
		return &Reject{N: int(f.integer()), Why: f.text()}
	case "start":
		return &Start{Time: f.integer(), Gap: f.integer()}
	case "restart":
		return &Restart{Time: f.integer(), Took: f.integer(), Why: f.text()}
	case "verdict":
		return &Verdict{LSN: uint64(f.integer()), Promoted: f.boolean(), Why: f.text()}
	case "loss":
		return &Loss{First: uint64(f.integer()), Time: f.integer(), Why: f.text()}
	}
	return nil
}

func (f *fields) next() (item sexpr.Text) {
	if f.rest == "" {
		f.bad = true
		return ""
	}
	item, f.rest = f.rest.Cut()
	return item
}

func (f *fields) text() string {
	s, ok := f.next().Str()
	f.bad = f.bad || !ok
	return s
}

func (f *fields) integer() int64 {
	n, ok := f.next().Int64()
	f.bad = f.bad || !ok
	return n
}

func (f *fields) boolean() bool {
	t := f.next()
	f.bad = f.bad || t != "#t" && t != "#f"
	return t == "#t"
}

// value builds the next item.
func (f *fields) value() sexpr.Value {
	v, err := f.next().Value()
	f.bad = f.bad || err != nil
	return v
}

// list gives the next item's own.
func (f *fields) list() *fields {
	g := fieldsOf(f.next())
	f.bad = f.bad || g.bad
	return g
}

// more says whether an item is left.
func (f *fields) more() bool { return f.rest != "" && !f.bad }

// end is where g, a list within f, must be done.
func (f *fields) end(g *fields) { f.bad = f.bad || g.bad || g.rest != "" }

func (f *fields) reply() (r Reply) {
	g := f.list()
	switch r.Status = Status(g.text()); r.Status {
	case OK:
		r.Value = g.next()
	case Raised, Failed:
		r.Text = g.text()
	default:
		f.bad = true
	}
	f.end(g)
	return r
}

func (f *fields) writes() (all []Write) {
	list := f.list()
	for list.more() {
		g := list.list()
		w := Write{Key: g.next()}
		if g.rest != "" {
			w.Value = g.next()
		}
		list.end(g)
		all = append(all, w)
	}
	f.end(list)
	return all
}

func (f *fields) proposals() (all []Proposal) {
	list := f.list()
	for list.more() {
		g := list.list()
		all = append(all, Proposal{Name: g.text(), Expr: g.value()})
		list.end(g)
	}
	f.end(list)
	return all
}
