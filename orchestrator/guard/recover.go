package guard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"syscall"
	"time"

	"jird/orchestrator/journal"
	"jird/snapshots"
	"jird/snapshots/wal"
)

// Store is where the guard's truth lies: a journal and checkpoints. Its methods
// are called by one goroutine at a time, but for PutCheckpoint, which may be under
// way beside any other.
type Store interface {
	// OpenJournal opens the journal, making it if that is allowed and there is none. An
	// error that wraps wal.ErrInUse names who has it open; any other says that the
	// journal is damaged or lost, and nothing was changed.
	OpenJournal(create bool) (Opened, error)
	// Salvage gives the records of a journal that does not open, from a number on,
	// verified; it ends with an error where one is, or may be, missing.
	Salvage(from uint64) iter.Seq2[Entry, error]
	// Newest returns the newest checkpoint that verifies, or nil if there is none,
	// and says what it had to pass over.
	Newest() (c *Saved, passed []string, err error)
	// PutCheckpoint makes a checkpoint durable and forgets the oldest beyond the
	// generations to be kept. It returns the LSN of the oldest that is still there, or
	// 0 while there are fewer than the generations to be kept.
	PutCheckpoint(Saved) (oldest uint64, err error)
	// Renew moves the journal away, to be looked at by a person, and makes a new one
	// whose first record is next.
	Renew(next uint64) error
}

// Opened is a journal that was just opened.
type Opened interface {
	Journal
	// First and Last are the numbers of the records there are; Last is First-1 where
	// there are none.
	First() uint64
	Last() uint64
	// Records gives the records from a number on, verified. It ends with an error at
	// the first that does not verify.
	Records(from uint64) iter.Seq2[Entry, error]
}

// Entry is one record.
type Entry struct {
	LSN  uint64
	Data []byte
}

// Saved is a checkpoint.
type Saved struct {
	LSN   uint64
	Clean bool // the guard ended in order: nothing follows it in the journal
	Live  snapshots.ID
	Time  time.Time
	Parts []journal.Part
}

// DoubtError says that acknowledged records may be missing. Nothing was changed.
type DoubtError struct {
	First uint64 // the first record that may be missing
	Why   string
}

func (e *DoubtError) Error() string {
	return fmt.Sprintf("records from LSN %d on may be missing: %s; put the missing files back, or go on without those records with --accept-loss", e.First, e.Why)
}

// recovered is what journal and checkpoints hold together.
type recovered struct {
	log   Opened
	state *journal.State
	live  snapshots.ID // empty: nothing says; the ref must
	saved uint64       // LSN of the checkpoint that it begins from
	clean bool
	fresh bool // nothing was ever served
	// unproven says that no call was journaled since another version became live.
	unproven bool
}

// open recovers the state and the live version.
func (g *Guard) open(context.Context) error {
	r, err := g.recover()
	if err != nil {
		return err
	}
	g.log, g.state, g.shown, g.probe = r.log, r.state, r.state.LSN, r.unproven
	g.saved.recovered = append(g.saved.recovered, r.state.LSN)
	if err := g.findLive(r); err != nil {
		r.log.Close()
		return err
	}
	if g.state.LSN == 0 {
		if err := g.firstMemory(); err != nil {
			r.log.Close()
			return fmt.Errorf("the memory of %s: %w", g.cfg.Agent, err)
		}
	}
	g.wall, g.began = max(g.cfg.Now().UnixMilli(), g.state.LastTime), time.Now()
	start := &journal.Start{Time: g.now()}
	if !r.clean && !r.fresh {
		start.Gap = start.Time - g.state.LastTime
	}
	if err := g.appendDurably(start); err != nil {
		r.log.Close()
		return fmt.Errorf("the journal cannot be written: %w", err)
	}
	return nil
}

// firstMemory takes the image's memory, at the first start. The journal does not hold
// it, so it is made a checkpoint before the first record, or a guard that dies before
// its next checkpoint would lose it.
func (g *Guard) firstMemory() error {
	image, err := g.cfg.Vault.Get(g.version)
	if err != nil {
		return err
	}
	if g.state.Memory, err = journal.NewMemory(image.Memory); err != nil {
		return err
	}
	if g.state.Memory.Bytes() == 0 {
		return nil
	}
	return g.putCheckpoint(g.state, g.version)
}

// recover reads the newest checkpoint that verifies and the records after it.
func (g *Guard) recover() (*recovered, error) {
	saved, passed, err := g.cfg.Store.Newest()
	if err != nil {
		return nil, err
	}
	for _, p := range passed {
		g.cfg.Say("stepping back a checkpoint: %s", p)
	}
	r := &recovered{state: emptyState(), fresh: saved == nil || saved.LSN == 0}
	if saved != nil {
		if r.state, err = journal.Restore(saved.LSN, saved.Parts); err != nil {
			return nil, fmt.Errorf("the checkpoint of LSN %d: %w", saved.LSN, err)
		}
		r.live, r.clean, r.saved = saved.Live, saved.Clean, saved.LSN
	}
	r.log, err = g.cfg.Store.OpenJournal(saved == nil)
	switch {
	case errors.Is(err, wal.ErrInUse), short(err):
		return r, err
	case err != nil:
		return g.salvage(r, err)
	}
	if why := r.gap(); why != "" {
		r.log.Close()
		return g.renew(r, why)
	}
	return g.replay(r)
}

// short says that an error comes of a machine that is short of something, space above
// all. It tells nothing of what is on the disk, so nothing may be given up for it.
func short(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// salvage reads what it can of a journal that does not open. Damage that lies before
// the checkpoint costs nothing.
func (g *Guard) salvage(r *recovered, damage error) (*recovered, error) {
	why := fmt.Sprintf("the journal does not open (%v)", damage)
	if err := r.apply(g.cfg.Store.Salvage(r.state.LSN + 1)); err != nil {
		return g.renew(r, fmt.Sprintf("%s, and its records can be read up to LSN %d (%v)", why, r.state.LSN, err))
	}
	r.clean = true // nothing is missing
	return g.renew(r, why+", but all records after the checkpoint can be read")
}

// gap says why journal and checkpoint do not join, or nothing.
func (r *recovered) gap() string {
	first, last, from := r.log.First(), r.log.Last(), r.state.LSN
	switch {
	case last < first && first != from+1:
		return "the journal is empty, and the newest checkpoint is not the last thing that was written"
	case last >= first && first > from+1:
		return fmt.Sprintf("the journal begins at LSN %d, the newest checkpoint that verifies ends at %d", first, from)
	case last >= first && last < from:
		return fmt.Sprintf("the journal ends at LSN %d, before the checkpoint at %d", last, from)
	}
	return ""
}

// renew goes on with a new journal, where the state is known to hold everything or
// somebody accepted that it may not.
func (g *Guard) renew(r *recovered, why string) (*recovered, error) {
	doubt := &DoubtError{r.state.LSN + 1, why}
	if !r.clean && !g.cfg.AcceptLoss {
		return nil, doubt
	}
	g.cfg.Say("%s; going on from LSN %d", why, r.state.LSN)
	if err := g.keepReplayed(r); err != nil {
		return nil, errors.Join(doubt, err)
	}
	if err := g.cfg.Store.Renew(r.state.LSN + 1); err != nil {
		return nil, errors.Join(doubt, err)
	}
	var err error
	if r.log, err = g.cfg.Store.OpenJournal(false); err != nil {
		return nil, errors.Join(doubt, err)
	}
	if !r.clean {
		return r, g.recordLoss(r, doubt)
	}
	return r, nil
}

// keepReplayed makes a checkpoint of what was read from a journal that is about to
// be set aside.
func (g *Guard) keepReplayed(r *recovered) error {
	if r.state.LSN == r.saved {
		return nil
	}
	return g.putCheckpoint(r.state, r.live)
}

// putCheckpoint makes a checkpoint of a state that nobody changes meanwhile.
func (g *Guard) putCheckpoint(s *journal.State, live snapshots.ID) error {
	frozen := s.Freeze()
	defer s.Memory.Thaw()
	parts, err := frozen.Parts()
	if err != nil {
		return err
	}
	_, err = g.cfg.Store.PutCheckpoint(Saved{LSN: frozen.LSN, Live: live, Time: time.Now(), Parts: parts})
	return err
}

func (g *Guard) recordLoss(r *recovered, doubt *DoubtError) error {
	loss := &journal.Loss{First: doubt.First, Time: g.cfg.Now().UnixMilli(), Why: doubt.Why}
	b, err := journal.Encode(loss)
	if err != nil {
		return err
	}
	lsn, err := r.log.Append(b)
	if err == nil {
		err = r.log.Sync(context.Background(), lsn)
	}
	if err != nil {
		return err
	}
	return r.state.Apply(lsn, loss)
}

// replay applies the records after the checkpoint. One that does not verify is the
// first in doubt: what follows it cannot be relied upon either.
func (g *Guard) replay(r *recovered) (*recovered, error) {
	r.fresh = r.fresh && r.log.Last() < r.log.First()
	if err := r.apply(r.log.Records(r.state.LSN + 1)); err != nil {
		r.log.Close()
		return g.renew(r, fmt.Sprintf("record %d of the journal is damaged (%v)", r.state.LSN+1, err))
	}
	return r, nil
}

func emptyState() *journal.State {
	memory, _ := journal.NewMemory(nil) // nothing to go wrong
	return journal.NewState(memory)
}

// findLive reads the live ref. Where it is lost or damaged, checkpoint and journal
// say what it was, and it is written again.
func (g *Guard) findLive(r *recovered) error {
	ref := g.cfg.Agent + "/live"
	id, err := g.cfg.Vault.Ref(ref)
	if err == nil {
		g.version = id
		return nil
	}
	if r.live == "" {
		return err
	}
	g.cfg.Say("%v; the journal says that %.12s is live", err, r.live)
	if err := g.cfg.Vault.ResetRef(ref, r.live); err != nil {
		return err
	}
	g.version = r.live
	return nil
}

// reopenEvery is how often it is tried to write the journal again.
const reopenEvery = time.Second

// reopen opens the journal anew after it failed: which of its last records are
// there, only that can tell. The processes are started again if they hold another
// state.
func (g *Guard) reopen(why error) {
	if g.log != nil {
		g.cfg.Say("the journal failed (%v); opening it anew", why)
		g.log.Close()
		g.log = nil
		g.epoch++
	}
	first := g.readOnly == nil
	g.readOnly = why
	g.saved.reopened = time.Now()
	r, err := g.recover()
	if err != nil && first {
		g.cfg.Say("the journal cannot be opened: %v", err)
		g.lookOnly(r)
	}
	if err != nil {
		return
	}
	g.log = r.log
	g.saved.recovered = append(g.saved.recovered, r.state.LSN)
	g.become(r.state)
	// Whether it can be written shows only when it is.
	if err := g.appendDurably(&journal.Restart{Time: g.now(), Why: "the journal failed: " + why.Error()}); err != nil {
		g.readOnly = err
		return
	}
	g.readOnly = nil
	g.cfg.Say("the journal is written again")
	g.endPromotion()
}

// lookOnly finds out what can be read while the journal cannot be opened.
func (g *Guard) lookOnly(r *recovered) {
	if r == nil {
		return
	}
	if err := r.apply(g.cfg.Store.Salvage(r.state.LSN + 1)); err != nil {
		g.cfg.Say("the journal cannot be read either, from LSN %d on: %v", r.state.LSN+1, err)
		return
	}
	g.become(r.state)
}

// become takes in a state that was read back. Processes that hold another memory are
// started again: all states are of one journal, so the number of write-sets tells.
func (g *Guard) become(s *journal.State) {
	same := g.state.Sets == s.Sets
	g.state, g.shown = s, s.LSN
	if same {
		return
	}
	g.cfg.Say("the processes hold what the journal does not: they are started again")
	g.restart()
	g.veto("the journal failed beneath it")
}

// endPromotion ends a promotion that a journal or a disk which failed left half-way.
func (g *Guard) endPromotion() {
	a := g.state.Attempt()
	if g.canary != nil || a == nil {
		return
	}
	accepted := a.Accepted
	if err := g.settle(); err != nil {
		g.cfg.Say("the promotion cannot be ended: %v", err)
		g.readOnly = err
	}
	if accepted { // another version is live, with the canary's state
		g.restart()
	}
}
