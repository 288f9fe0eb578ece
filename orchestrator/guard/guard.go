// Package guard keeps one live agent: it serves calls one at a time, in order;
// what they do is in the journal before anybody is told; the agent's processes may
// die at any moment and nothing acknowledged is lost; and another version becomes
// live only through a promotion that can be undone.
//
// Whoever has the turn owns the state, the journal and the processes: one goroutine,
// the core, or a call that finds nobody before it, which is then carried out where it
// came from. All else asks the core: calls by a bounded queue, everything else by
// small functions that it runs in between.
//
// It assumes that it is alone: whoever opens a guard holds the lock of the data
// folder.
package guard

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"jird/orchestrator/journal"
	"jird/orchestrator/supervise"
	"jird/sandbox"
	"jird/snapshots"
)

// Journal is the durable log that the guard writes to. Append, Acknowledged and Close
// are called by one goroutine at a time, Wait by another.
type Journal interface {
	// Append queues a record and returns its number, one above the last. After an
	// error nothing can be appended any more.
	Append(data []byte) (lsn uint64, err error)
	// Wait returns when a record may be acknowledged. An error says that it may not,
	// now or later; whether it became durable only opening the journal anew can tell.
	Wait(ctx context.Context, lsn uint64) error
	// Acknowledged says that Wait would return nil at once. It may say false at any time.
	Acknowledged(lsn uint64) bool
	// Sync returns when a record is durable, whatever may be acknowledged before.
	Sync(ctx context.Context, lsn uint64) error
	// LossWindow is the longest time for which a record that might be acknowledged was
	// not durable.
	LossWindow() time.Duration
	// TruncateBefore forgets records below a number.
	TruncateBefore(lsn uint64) error
	Close() error
}

// Config is what a guard works with and how.
type Config struct {
	Agent string // its name: the refs are NAME/live and NAME/previous
	Vault *snapshots.Vault
	Store Store
	// Code gives the image that a version's processes load, without memory.
	Code func(snapshots.ID) (sandbox.Image, error)
	Line supervise.Config

	Deadline time.Duration // of a call that names none; 0: 10 s
	Queue    int           // calls that may wait; 0: 1,000
	Memory   int64         // resident bytes at which the serving process is replaced; 0: no limit
	Canary   Canary

	Checkpoint Checkpointing
	AcceptLoss bool

	// Proposed is told, by a goroutine of its own, of each change that the agent
	// proposes; Decide is to follow. nil: proposals wait.
	Proposed func(journal.Proposal)

	Now       func() time.Time // the wall clock, asked when the guard is opened; nil: time.Now
	Say       func(format string, args ...any)
	Failpoint func(name string) // called at every arrow; nil: nothing
}

func (c *Config) defaults() {
	if c.Deadline == 0 {
		c.Deadline = 10 * time.Second
	}
	if c.Queue == 0 {
		c.Queue = 1000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	if c.Failpoint == nil {
		c.Failpoint = func(string) {}
	}
	c.Checkpoint.defaults()
	c.Canary.defaults()
}

// Guard serves one agent. Its exported methods are safe for concurrent use.
type Guard struct {
	cfg    Config
	calls  chan *pending
	events chan func()
	quit   chan struct{} // closed by Close
	ended  chan struct{} // closed when the core has ended
	acks   chan ack
	untold atomic.Int64  // acks that have not been told
	told   chan struct{} // closed when all acks have been told
	ahead  atomic.Int64  // calls that came and have not been carried out
	turn   sync.Mutex
	status atomic.Pointer[Status]
	counts counters

	// Owned by whoever has the turn.
	log          Journal
	epoch        int // how often the journal was opened
	state        *journal.State
	shown        uint64           // the last record that an answer may rest on
	wall         int64            // Unix milliseconds at began, see now
	began        time.Time        // when the guard was opened
	version      snapshots.ID     // what the live ref says
	early        *supervise.Early // while the guard is opened; or nil
	earlyID      snapshots.ID
	live         *supervise.Line
	warm         *supervise.Line // the version before, ready to be rolled back to; or nil
	warmID       snapshots.ID
	canary       *canary   // the promotion under way; or nil
	down         bool      // the live version's processes could not be started
	rebaseFailed time.Time // when a zygote could last not be made
	probe        bool      // the live version has not answered since it became live
	readOnly     error
	pulse        pulse
	idle         idle
	suspects     map[string]int // calls by id and body that hung a process once
	saved        saved
	closing      sync.Once
}

// Errors of a call. Each says whether the call may have been carried out.
var (
	ErrQueueFull = errors.New("too many calls are waiting; try again in a moment")
	ErrDeadline  = errors.New("the deadline passed; nothing of the call was kept")
	ErrReadOnly  = errors.New("the journal cannot be written, so only calls that change nothing are served; nothing of this call was kept")
	ErrClosed    = errors.New("the guard is ending; nothing of the call was kept")
	ErrDown      = errors.New("the agent cannot be started just now; nothing of the call was kept")
	ErrNotKept   = errors.New("the journal failed while the call was being written; nothing of the call was kept")
	ErrUnknown   = errors.New("the journal failed and cannot be opened; whether the call was kept is not known yet: ask again with the same id")
	ErrNoVersion = errors.New("there is no such version to make live")
)

// refusal is what is said while the journal cannot be written.
func (g *Guard) refusal() error { return fmt.Errorf("%w (%w)", ErrReadOnly, g.readOnly) }

// recoveryGC is the collector's percentage while the journal is read: of 8 MiB it makes
// state of some 30 MiB, and of what lies between 200 MiB at most.
const recoveryGC = 1600

// Open recovers the agent and serves it. The error is a *DoubtError when
// acknowledged calls may be missing.
func Open(ctx context.Context, cfg Config) (*Guard, error) {
	cfg.defaults()
	// What recovery allocates stays: a collector that follows its growth works in vain.
	defer debug.SetGCPercent(debug.SetGCPercent(recoveryGC))
	g := &Guard{
		cfg: cfg, calls: make(chan *pending, cfg.Queue), events: make(chan func(), 256),
		quit: make(chan struct{}), ended: make(chan struct{}), acks: make(chan ack, cfg.Queue), told: make(chan struct{}),
		suspects: map[string]int{},
	}
	g.early, g.earlyID = g.openEarly(ctx)
	defer g.dropEarly()
	if err := g.open(ctx); err != nil {
		return nil, err
	}
	if err := g.start(ctx); err != nil {
		g.log.Close()
		return nil, err
	}
	g.saved.last = time.Now()
	g.publish()
	g.proposed()
	go g.tell()
	go g.core()
	return g, nil
}

// start brings the live version's processes up, and ends a promotion that the
// guard before left half-way.
func (g *Guard) start(ctx context.Context) error {
	if err := g.settle(); err != nil {
		return err
	}
	line, err := g.firstLine(ctx)
	if err == nil {
		g.live = line
		return nil
	}
	// The code that is live does not even start: what was live before it does, or
	// nothing can be done here.
	back := g.state.Restorable()
	if back == "" {
		return fmt.Errorf("the live version %.12s of %s does not start, and there is none before it: %w", g.version, g.cfg.Agent, err)
	}
	g.cfg.Say("the live version %.12s does not start (%v); going back to %.12s", g.version, err, back)
	if g.live, err = g.openLine(ctx, back); err != nil {
		return fmt.Errorf("the version before the live one does not start either: %w", err)
	}
	if err := g.swap(journal.Rollback, back, "the live version did not start"); err != nil {
		g.live.Close()
		return err
	}
	g.counts.rollbacks.Add(1)
	return nil
}

// openEarly starts the zygote of the version that is probably live, while the journal
// is read.
func (g *Guard) openEarly(ctx context.Context) (*supervise.Early, snapshots.ID) {
	id, err := g.cfg.Vault.Ref(g.cfg.Agent + "/live")
	if err != nil {
		return nil, "" // findLive will see to it
	}
	return supervise.OpenEarly(ctx, g.cfg.Line, func() (sandbox.Image, error) { return g.cfg.Code(id) }), id
}

func (g *Guard) dropEarly() {
	if g.early != nil {
		g.early.Drop()
		g.early = nil
	}
}

// firstLine opens the live version and waits for its first process. An early start that
// failed proves nothing: much else was under way.
func (g *Guard) firstLine(ctx context.Context) (*supervise.Line, error) {
	if g.early != nil && g.earlyID == g.version {
		early := g.early
		g.early = nil
		line, err := early.Open(g.state.Memory.Datum(), g.state.Sets, func() { g.post(g.mend) })
		if err == nil {
			line, err = ready(ctx, line)
		}
		if err == nil {
			return line, nil
		}
		g.cfg.Say("the early start of %.12s failed (%v); starting it anew", g.version, err)
	}
	g.dropEarly()
	line, err := g.openLine(ctx, g.version)
	if err != nil {
		return nil, err
	}
	return ready(ctx, line)
}

// ready waits for a line's first process.
func ready(ctx context.Context, line *supervise.Line) (*supervise.Line, error) {
	if err := line.Ready(ctx); err != nil {
		line.Close()
		return nil, err
	}
	return line, nil
}

func (g *Guard) openLine(ctx context.Context, version snapshots.ID) (*supervise.Line, error) {
	image, err := g.cfg.Code(version)
	if err != nil {
		return nil, err
	}
	return supervise.Open(ctx, g.cfg.Line, image, g.state.Memory.Datum(), g.state.Sets, func() { g.post(g.mend) })
}

// post has the core run f; it is dropped when the core has ended.
func (g *Guard) post(f func()) {
	select {
	case g.events <- f:
	case <-g.ended:
	}
}

// ask has the core run f and waits for it.
func (g *Guard) ask(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case g.events <- func() { f(); close(done) }:
	case <-g.ended:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-g.ended:
		return ErrClosed
	}
}

// healthEvery is how often the processes' memory and the age of the last
// checkpoint are looked at.
const healthEvery = 250 * time.Millisecond

func (g *Guard) core() {
	defer close(g.ended)
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		select {
		case f := <-g.events:
			g.turn.Lock()
			f()
			g.turn.Unlock()
		case c := <-g.calls:
			g.turn.Lock()
			g.runEvents()
			g.handle(c)
			g.turn.Unlock()
			g.ahead.Add(-1)
		case <-tick.C:
			g.turn.Lock()
			g.tick()
			g.turn.Unlock()
		case <-g.quit:
			g.turn.Lock() // for good
			g.finish()
			return
		}
	}
}

// runEvents runs what waits to be run: what changes the processes comes before the
// next call.
func (g *Guard) runEvents() {
	for {
		select {
		case f := <-g.events:
			f()
		default:
			return
		}
	}
}

func (g *Guard) tick() {
	if g.readOnly != nil && time.Since(g.saved.reopened) >= reopenEvery {
		g.reopen(g.readOnly)
	}
	if g.down {
		g.restart()
	}
	g.watchMemory()
	g.watchCPU()
	g.watchPulse()
	g.rebaseIfDue()
	g.checkpointIfDue()
	g.canaryTick()
	g.publish()
}

// Close serves the calls that wait, writes a last checkpoint and ends all
// processes.
func (g *Guard) Close() error {
	g.closing.Do(func() { close(g.quit) })
	<-g.ended
	return g.saved.err
}

// finish is the end of the core.
func (g *Guard) finish() {
	for drained := false; !drained; {
		select {
		case c := <-g.calls:
			g.handle(c)
		default:
			drained = true
		}
	}
	if g.canary != nil {
		g.reject("the guard is ending")
	}
	close(g.acks)
	for told := false; !told; { // nobody is left without the answer that is in the journal
		select {
		case f := <-g.events:
			f()
		case <-g.told:
			told = true
		}
	}
	g.saved.err = g.lastCheckpoint()
	for _, line := range []*supervise.Line{g.live, g.warm} {
		if line != nil {
			line.Close()
		}
	}
	if g.log == nil {
		g.saved.err = errors.Join(g.saved.err, g.readOnly)
		return
	}
	g.saved.err = errors.Join(g.saved.err, g.log.Close())
}

// append writes a record and takes it into the state. After an error the journal
// has to be opened anew.
func (g *Guard) append(r journal.Record) (lsn uint64, err error) {
	if g.log == nil {
		return 0, g.refusal()
	}
	b, err := journal.Encode(r)
	if err != nil {
		return 0, err
	}
	if lsn, err = g.log.Append(b); err != nil {
		return 0, err
	}
	g.saved.journaled += int64(len(b))
	if _, restart := r.(*journal.Restart); !restart {
		g.shown = lsn
	}
	return lsn, g.state.Apply(lsn, r)
}

// appendDurably is append for records that something irreversible follows.
func (g *Guard) appendDurably(r journal.Record) error {
	lsn, err := g.append(r)
	if err != nil {
		return err
	}
	return g.log.Sync(context.Background(), lsn)
}

// now is the time that records carry, in Unix milliseconds: what the wall clock said
// when the guard was opened, or the last record if that is later, and what has passed
// since by a clock that nobody sets. So a wall clock that is set forward does not make
// the guard forget ids, and one that is set back does not make it remember them longer.
func (g *Guard) now() int64 { return g.wall + time.Since(g.began).Milliseconds() }
