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
	v, err := sexpr.DecodeCanonical(piece)
	if err != nil {
		return err
	}
	more, err := NewMemory(v)
	if err != nil {
		return err
	}
	for key, value := range more.All() {
		s.Memory.set(key, value)
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
	v, err := sexpr.DecodeCanonical(piece)
	if err != nil {
		return err
	}
	list, _ := v.(sexpr.List)
	f := &fields{rest: list}
	if f.integer() != 1 {
		return errors.New("it is of a version that this jird does not know; use a newer one")
	}
	s.Sets, s.LastTime = uint64(f.integer()), f.integer()
	for _, item := range f.list() {
		s.Promotions = append(s.Promotions, f.attempt(item))
	}
	for _, item := range f.list() {
		one, _ := item.(sexpr.List)
		g := &fields{rest: one}
		s.Proposals = append(s.Proposals, Proposal{uint64(g.integer()), g.text(), g.next()})
		f.bad = f.bad || g.bad || len(g.rest) > 0
	}
	s.Totals = f.totals(f.list())
	if f.bad || len(f.rest) > 0 {
		return errors.New("it is not of its form")
	}
	return nil
}

func (f *fields) attempt(v sexpr.Value) (a Attempt) {
	list, _ := v.(sexpr.List)
	g := &fields{rest: list}
	begin := g.list()
	if len(begin) > 0 {
		h := &fields{rest: begin[1:]}
		if b, ok := h.record(begin[0]).(*Begin); ok && !h.bad && len(h.rest) == 0 {
			a.Begin = *b
		} else {
			g.bad = true
		}
	}
	for _, step := range g.list() {
		name, ok := step.(sexpr.String)
		g.bad = g.bad || !ok
		a.Steps = append(a.Steps, string(name))
	}
	a.Accepted, a.Ended, a.Why, a.Undone = g.boolean(), g.boolean(), g.text(), g.boolean()
	f.bad = f.bad || g.bad || len(g.rest) > 0 || len(begin) == 0
	return a
}

func (f *fields) totals(list sexpr.List) (t Totals) {
	g := &fields{rest: list}
	t = Totals{Since: g.integer(), Attempts: int(g.integer()), Held: int(g.integer()), Calls: uint64(g.integer()),
		Restarts: int(g.integer()), Starts: int(g.integer()), DownMicro: g.integer()}
	for _, item := range g.list() {
		one, _ := item.(sexpr.List)
		if len(one) == 0 {
			g.bad = true
			continue
		}
		h := &fields{rest: one[1:]}
		l, ok := h.record(one[0]).(*Loss)
		if !ok || h.bad || len(h.rest) > 0 {
			g.bad = true
			continue
		}
		t.Losses = append(t.Losses, *l)
	}
	f.bad = f.bad || g.bad || len(g.rest) > 0
	return t
}
