package journal

import (
	"errors"
	"fmt"

	"jird/snapshots/sexpr"
)

// FrozenState is a state at one moment, to be written by another goroutine while the
// state goes on changing.
type FrozenState struct {
	LSN    uint64
	memory Frozen
	calls  FrozenCalls
	rest   sexpr.List
}

// Part is a named piece-wise serialization: a piece that did not change since
// the checkpoint before has the same bytes.
type Part struct {
	Name   string
	Pieces [][]byte
}

// Names of a checkpoint's parts.
const (
	partMemory = "memory"
	partCalls  = "calls"
	partRest   = "guard"
)

// CanFreeze says whether a checkpoint can be made now: not while canary state
// waits to be folded or dropped.
func (s *State) CanFreeze() bool { return len(s.Overlays) == 0 && s.Memory.later == nil }

// Freeze needs CanFreeze, and Memory.Thaw afterwards.
func (s *State) Freeze() FrozenState {
	return FrozenState{s.LSN, s.Memory.Freeze(), s.Calls.Freeze(), s.encodeRest()}
}

// Parts writes the state as the parts of a checkpoint.
func (f FrozenState) Parts() ([]Part, error) {
	calls, err := f.calls.Pieces()
	if err != nil {
		return nil, fmt.Errorf("writing the remembered calls: %w", err)
	}
	rest, err := sexpr.Canonical(f.rest)
	if err != nil {
		return nil, fmt.Errorf("writing the guard's own state: %w", err)
	}
	parts := []Part{{partMemory, f.memory.Pieces()}, {partCalls, calls}, {partRest, [][]byte{rest}}}
	for i := range parts {
		parts[i].Pieces = split(parts[i].Pieces)
	}
	return parts, nil
}

// maxPiece is the most bytes of a piece that is stored: a chunk of the vault.
const maxPiece = 1 << 20

// continued begins a piece that the next one completes; a canonical list begins
// otherwise.
const continued = '+'

func split(pieces [][]byte) (all [][]byte) {
	for _, p := range pieces {
		for len(p) > maxPiece {
			all = append(all, append([]byte{continued}, p[:maxPiece-1]...))
			p = p[maxPiece-1:]
		}
		all = append(all, p)
	}
	return all
}

func join(pieces [][]byte) (all [][]byte) {
	var begun []byte
	for _, p := range pieces {
		if len(p) == maxPiece && p[0] == continued {
			begun = append(begun, p[1:]...)
			continue
		}
		all = append(all, append(begun, p...))
		begun = nil
	}
	if begun != nil {
		all = append(all, begun) // not completed: it will not be canonical
	}
	return all
}

// Restore reads the state back from what Parts wrote.
func Restore(lsn uint64, parts []Part) (*State, error) {
	s := NewState(&Memory{values: map[string]string{}})
	s.LSN = lsn
	seen := map[string]bool{}
	for _, p := range parts {
		seen[p.Name] = true
		for i, piece := range join(p.Pieces) {
			if err := s.restore(p.Name, piece); err != nil {
				return nil, fmt.Errorf("piece %d of the checkpoint's %s: %w", i+1, p.Name, err)
			}
		}
	}
	if !seen[partMemory] || !seen[partCalls] || !seen[partRest] {
		return nil, errors.New("the checkpoint lacks a part")
	}
	return s, nil
}

func (s *State) restore(part string, piece []byte) error {
	switch part {
	case partMemory:
		return s.restoreMemory(piece)
	case partCalls:
		return s.Calls.load(piece)
	case partRest:
		return s.decodeRest(piece)
	}
	return errors.New("this jird does not know the part; use a newer one")
}

func (s *State) restoreMemory(piece []byte) error {
	t, err := sexpr.DecodeText(piece)
	if err != nil {
		return err
	}
	f := fieldsOf(t)
	for f.more() {
		key, value, ok := pair(f.next())
		if !ok {
			return errNotPairs
		}
		if err := s.Memory.Apply([]Write{{key, value}}); err != nil {
			return err
		}
	}
	return nil
}

// The guard's own state, version 1:
//
//	(1 SETS LAST-TIME (ATTEMPT ...) (PROPOSAL ...) TOTALS)
func (s *State) encodeRest() sexpr.List {
	attempts, proposals, losses := sexpr.List{}, sexpr.List{}, sexpr.List{}
	for i := range s.Promotions {
		attempts = append(attempts, s.Promotions[i].encodeAttempt())
	}
	for _, p := range s.Proposals {
		proposals = append(proposals, sexpr.List{integer(p.LSN), text(p.Name), p.Expr})
	}
	t := s.Totals
	for i := range t.Losses {
		losses = append(losses, t.Losses[i].encode())
	}
	totals := sexpr.List{integer(t.Since), integer(int64(t.Attempts)), integer(int64(t.Held)), integer(t.Calls),
		integer(int64(t.Restarts)), integer(int64(t.Starts)), integer(t.DownMicro), losses}
	return sexpr.List{integer(1), integer(s.Sets), integer(s.LastTime), attempts, proposals, totals}
}

func (a *Attempt) encodeAttempt() sexpr.List {
	steps := sexpr.List{}
	for _, step := range a.Steps {
		steps = append(steps, text(step))
	}
	return sexpr.List{a.Begin.encode(), steps, sexpr.Bool(a.Accepted), sexpr.Bool(a.Ended), text(a.Why), sexpr.Bool(a.Undone)}
}

func (s *State) decodeRest(piece []byte) error {
	t, err := sexpr.DecodeText(piece)
	if err != nil {
		return err
	}
	f := fieldsOf(t)
	if f.integer() != 1 {
		return errors.New("it is of a version that this jird does not know; use a newer one")
	}
	s.Sets, s.LastTime = uint64(f.integer()), f.integer()
	attempts := f.list()
	for attempts.more() {
		s.Promotions = append(s.Promotions, attempts.attempt())
	}
	f.end(attempts)
	proposals := f.list()
	for proposals.more() {
		g := proposals.list()
		s.Proposals = append(s.Proposals, Proposal{uint64(g.integer()), g.text(), g.value()})
		proposals.end(g)
	}
	f.end(proposals)
	s.Totals = f.totals()
	if f.bad || f.rest != "" {
		return errors.New("it is not of its form")
	}
	return nil
}

// inner reads a record within another list; nil if it is none.
func (f *fields) inner() Record {
	g := f.list()
	r := g.record(g.next())
	f.end(g)
	return r
}

func (f *fields) attempt() (a Attempt) {
	g := f.list()
	begin, ok := g.inner().(*Begin)
	if g.bad = g.bad || !ok; !g.bad {
		a.Begin = *begin
	}
	steps := g.list()
	for steps.more() {
		a.Steps = append(a.Steps, steps.text())
	}
	g.end(steps)
	a.Accepted, a.Ended, a.Why, a.Undone = g.boolean(), g.boolean(), g.text(), g.boolean()
	f.end(g)
	return a
}

func (f *fields) totals() (t Totals) {
	g := f.list()
	t = Totals{Since: g.integer(), Attempts: int(g.integer()), Held: int(g.integer()), Calls: uint64(g.integer()),
		Restarts: int(g.integer()), Starts: int(g.integer()), DownMicro: g.integer()}
	losses := g.list()
	for losses.more() {
		l, ok := losses.inner().(*Loss)
		if losses.bad = losses.bad || !ok; !losses.bad {
			t.Losses = append(t.Losses, *l)
		}
	}
	g.end(losses)
	f.end(g)
	return t
}
