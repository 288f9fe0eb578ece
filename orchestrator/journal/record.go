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

// Decode reads what Encode wrote, and nothing else.
func Decode(b []byte) (Record, error) {
	v, err := sexpr.DecodeCanonical(b)
	if err != nil {
		return nil, fmt.Errorf("decoding a journal record: %w", err)
	}
	list, _ := v.(sexpr.List)
	if len(list) == 0 {
		return nil, fmt.Errorf("decoding a journal record: it is not a list")
	}
	f := &fields{rest: list[1:]}
	r := f.record(list[0])
	if r == nil {
		return nil, fmt.Errorf("decoding a journal record: its kind is unknown to this jird; use a newer one")
	}
	if f.bad || len(f.rest) > 0 {
		return nil, fmt.Errorf("decoding a journal record: a %v record is not of its form", list[0])
	}
	return r, nil
}

// fields takes a record apart from the left; bad stays set once a field was not
// what it must be.
type fields struct {
	rest []sexpr.Value
	bad  bool
}

func (f *fields) record(kind sexpr.Value) Record {
	switch kind {
	case sexpr.Symbol("call"):
		return &Call{ID: f.text(), Body: f.text(), Time: f.integer(), Reply: f.reply(), Writes: f.writes(), Proposals: f.proposals(), Overlay: f.text()}
	case sexpr.Symbol("begin"):
		return &Begin{N: int(f.integer()), Kind: Kind(f.text()), From: snapshots.ID(f.text()), To: snapshots.ID(f.text()), Reason: f.text(), Time: f.integer()}
	case sexpr.Symbol("step"):
		return &Step{N: int(f.integer()), Name: f.text()}
	case sexpr.Symbol("accept"):
		return &Accept{N: int(f.integer())}
	case sexpr.Symbol("done"):
		return &Done{N: int(f.integer())}
	case sexpr.Symbol("reject"):
		return &Reject{N: int(f.integer()), Why: f.text()}
	case sexpr.Symbol("start"):
		return &Start{Time: f.integer(), Gap: f.integer()}
	case sexpr.Symbol("restart"):
		return &Restart{Time: f.integer(), Took: f.integer(), Why: f.text()}
	case sexpr.Symbol("verdict"):
		return &Verdict{LSN: uint64(f.integer()), Promoted: f.boolean(), Why: f.text()}
	case sexpr.Symbol("loss"):
		return &Loss{First: uint64(f.integer()), Time: f.integer(), Why: f.text()}
	}
	return nil
}

func (f *fields) next() sexpr.Value {
	if len(f.rest) == 0 {
		f.bad = true
		return nil
	}
	v := f.rest[0]
	f.rest = f.rest[1:]
	return v
}

func (f *fields) text() string {
	s, ok := f.next().(sexpr.String)
	f.bad = f.bad || !ok
	return string(s)
}

func (f *fields) integer() int64 {
	i, ok := f.next().(sexpr.Int)
	n, fits := i.Int64()
	f.bad = f.bad || !ok || !fits
	return n
}

func (f *fields) boolean() bool {
	b, ok := f.next().(sexpr.Bool)
	f.bad = f.bad || !ok
	return bool(b)
}

func (f *fields) list() sexpr.List {
	l, ok := f.next().(sexpr.List)
	f.bad = f.bad || !ok
	return l
}

func (f *fields) reply() (r Reply) {
	g := &fields{rest: f.list()}
	switch r.Status = Status(g.text()); r.Status {
	case OK:
		r.Value = g.next()
	case Raised, Failed:
		r.Text = g.text()
	default:
		f.bad = true
	}
	f.bad = f.bad || g.bad || len(g.rest) > 0
	return r
}

func (f *fields) writes() (all []Write) {
	for _, v := range f.list() {
		one, _ := v.(sexpr.List)
		switch len(one) {
		case 1:
			all = append(all, Write{Key: one[0]})
		case 2:
			all = append(all, Write{one[0], one[1]})
		default:
			f.bad = true
		}
	}
	return all
}

func (f *fields) proposals() (all []Proposal) {
	for _, v := range f.list() {
		one, _ := v.(sexpr.List)
		g := &fields{rest: one}
		p := Proposal{Name: g.text(), Expr: g.next()}
		f.bad = f.bad || g.bad || len(g.rest) > 0
		all = append(all, p)
	}
	return all
}
