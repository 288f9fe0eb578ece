package journal

import (
	"errors"
	"fmt"
	"slices"

	"jird/snapshots"
)

var errNotPairs = errors.New("memory is not an association list of (key . value)")

// State is all that the journal says up to LSN. The live code is not in it: the
// live ref says what that is. Not safe for concurrent use.
type State struct {
	LSN        uint64
	Sets       uint64 // write-sets applied to Memory: what every process must have applied too
	Memory     *Memory
	Calls      *Calls
	Promotions []Attempt  // oldest first, the last keptAttempts
	Proposals  []Proposal // not decided yet, oldest first
	Overlays   Overlays   // canary state of the attempt under way
	Totals     Totals
	LastTime   int64 // of the last record that has a time, in Unix milliseconds
}

// Attempt is one promotion.
type Attempt struct {
	Begin
	Steps    []string
	Accepted bool
	Ended    bool
	Why      string // of a rejection
	Undone   bool   // a later rollback went back to what was live before it
}

// Live says whether the attempt ended with its version live.
func (a *Attempt) Live() bool { return a.Accepted && a.Ended }

// keptAttempts is how many promotions are remembered in full.
const keptAttempts = 200

// Totals count what happened since the agent was first served.
type Totals struct {
	Since     int64 // Unix milliseconds of the first start
	Attempts  int   // promotions by evidence or force that were begun
	Held      int   // of these: became live and were not undone
	Calls     uint64
	Restarts  int
	Starts    int
	DownMicro int64 // not serving: restarts, and gaps between guards
	Losses    []Loss
}

// NewState is the state before the first record.
func NewState(memory *Memory) *State {
	return &State{Memory: memory, Calls: NewCalls()}
}

// Attempt is the promotion under way, or nil.
func (s *State) Attempt() *Attempt {
	if n := len(s.Promotions); n > 0 && !s.Promotions[n-1].Ended {
		return &s.Promotions[n-1]
	}
	return nil
}

// Version is what promotion n was to make live.
func (s *State) Version(n int) snapshots.ID {
	for i := range s.Promotions {
		if s.Promotions[i].N == n {
			return s.Promotions[i].To
		}
	}
	return ""
}

// NextAttempt is the number of the next promotion.
func (s *State) NextAttempt() int {
	if n := len(s.Promotions); n > 0 {
		return s.Promotions[n-1].N + 1
	}
	return 1
}

// Apply takes the record of the next LSN in. An error says that the journal
// contradicts itself; the state is then not to be used.
func (s *State) Apply(lsn uint64, r Record) error {
	if lsn != s.LSN+1 {
		return fmt.Errorf("record %d follows record %d: records between them are missing", lsn, s.LSN)
	}
	s.LSN = lsn
	s.LastTime = max(s.LastTime, timeOf(r))
	if err := s.apply(r); err != nil {
		return fmt.Errorf("record %d: %w", lsn, err)
	}
	return nil
}

func timeOf(r Record) int64 {
	switch r := r.(type) {
	case *Call:
		return r.Time
	case *Begin:
		return r.Time
	case *Start:
		return r.Time
	case *Restart:
		return r.Time
	}
	return 0
}

func (s *State) apply(r Record) error {
	switch r := r.(type) {
	case *Call:
		return s.call(r)
	case *Begin:
		return s.begin(r)
	case *Step:
		return s.under(r.N, func(a *Attempt) { a.Steps = append(a.Steps, r.Name) })
	case *Accept:
		return s.under(r.N, func(a *Attempt) { a.Accepted = true })
	case *Reject:
		s.Overlays = nil
		return s.under(r.N, func(a *Attempt) { a.Ended, a.Why = true, r.Why })
	case *Done:
		return s.done(r)
	case *Start:
		s.Totals.Starts++
		s.Totals.DownMicro += r.Gap * 1000
		if s.Totals.Since == 0 {
			s.Totals.Since = r.Time
		}
	case *Restart:
		s.Totals.Restarts++
		s.Totals.DownMicro += r.Took
	case *Verdict:
		s.Proposals = slices.DeleteFunc(s.Proposals, func(p Proposal) bool { return p.LSN == r.LSN })
	case *Loss:
		s.Totals.Losses = append(s.Totals.Losses, *r)
	default:
		return fmt.Errorf("%T has no meaning here", r)
	}
	return nil
}

func (s *State) call(c *Call) error {
	s.Totals.Calls++
	for _, p := range c.Proposals {
		s.Proposals = append(s.Proposals, Proposal{s.LSN, p.Name, p.Expr})
	}
	switch {
	case len(c.Writes) == 0:
	case c.Overlay != "":
		s.Overlays = append(s.Overlays, overlay{s.LSN, c.Overlay, c.Writes})
	default:
		if err := s.Memory.Apply(c.Writes); err != nil {
			return err
		}
		s.Sets++
	}
	return s.Calls.add(s.LSN, c)
}

func (s *State) begin(b *Begin) error {
	if s.Attempt() != nil || b.N != s.NextAttempt() {
		return fmt.Errorf("promotion %d begins before promotion %d ended", b.N, s.NextAttempt()-1)
	}
	if b.Kind != Rollback {
		s.Totals.Attempts++
	}
	s.Promotions = append(s.Promotions, Attempt{Begin: *b})
	if len(s.Promotions) > keptAttempts {
		s.Promotions = slices.Delete(s.Promotions, 0, len(s.Promotions)-keptAttempts)
	}
	return nil
}

func (s *State) under(n int, change func(*Attempt)) error {
	a := s.Attempt()
	if a == nil || a.N != n {
		return fmt.Errorf("promotion %d is not under way", n)
	}
	change(a)
	return nil
}

// done ends an accepted attempt. A rollback undoes all that became live since its
// target was.
func (s *State) done(d *Done) error {
	a := s.Attempt()
	if a == nil || a.N != d.N || !a.Accepted {
		return fmt.Errorf("promotion %d is done without having been accepted", d.N)
	}
	a.Ended = true
	if a.Kind != Rollback {
		s.Totals.Held++
		return s.foldOverlays()
	}
	for i := len(s.Promotions) - 2; i >= 0; i-- {
		if before := &s.Promotions[i]; before.Live() && before.Kind != Rollback && !before.Undone {
			before.Undone = true
			s.Totals.Held--
			if before.From == a.To {
				break
			}
		}
	}
	return nil
}

// foldOverlays makes the accepted version's canary state the agent's.
func (s *State) foldOverlays() error {
	for _, writes := range s.Overlays.All() {
		if err := s.Memory.Apply(writes); err != nil {
			return err
		}
		s.Sets++
	}
	s.Overlays = nil
	return nil
}

// Overlays is canary state that is not the agent's yet: each caller's writes, by
// LSN.
type Overlays []overlay

type overlay struct {
	lsn    uint64
	caller string
	writes []Write
}

// Of is what a caller's canary state changes, oldest first.
func (o Overlays) Of(caller string) (all []Write) {
	for _, one := range o {
		if one.caller == caller {
			all = append(all, one.writes...)
		}
	}
	return all
}

// All is every write-set, in order.
func (o Overlays) All() (all [][]Write) {
	for _, one := range o {
		all = append(all, one.writes)
	}
	return all
}

// Restorable is where a rollback goes when none is named: what was live before
// the last version that became live and was not undone. It is empty where there
// is none.
func (s *State) Restorable() snapshots.ID {
	for i := len(s.Promotions) - 1; i >= 0; i-- {
		if a := &s.Promotions[i]; a.Live() && a.Kind != Rollback && !a.Undone {
			return a.From
		}
	}
	return ""
}
