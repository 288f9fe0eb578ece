package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// Config is how a line runs its processes.
type Config struct {
	Sandbox sandbox.Options
	Request time.Duration // limit of starting a process and of catching it up; 0: 30 s
	Intensity
	// Rebase is how many changed keys make a new zygote worth while: a process forked
	// from the old one must first take them all in. 0: 20,000.
	Rebase int
}

func (c *Config) defaults() {
	if c.Request == 0 {
		c.Request = 30 * time.Second
	}
	if c.Rebase == 0 {
		c.Rebase = 20_000
	}
}

// ErrHopeless is wrapped when the processes of a version die as soon as they start.
var ErrHopeless = errors.New("the agent keeps dying")

// ErrDown is wrapped when no process is left, and none can be started from the zygote.
var ErrDown = errors.New("the zygote is gone, and so are its processes")

// Line is one version's processes. Its methods must be called by one goroutine at
// a time; what they start goes on in the background.
type Line struct {
	cfg    Config
	image  sandbox.Image // without memory
	engine sandbox.Engine
	old    sandbox.Engine            // that the serving process came from, if that is another; or nil
	base   uint64                    // write-sets in the zygote
	sets   uint64                    // write-sets committed
	delta  map[string]sandbox.Effect // since base, the last for each key

	serving, standby *replica
	onDeath          func()
	rebasing         *rebase
}

// Death is how the serving process ended.
type Death struct {
	Why  error
	Took time.Duration // from the death's being noticed to the next process ready
}

// Open starts the zygote of a version with the memory that sets write-sets made,
// then a process and its standby. onDeath is called, from any goroutine, when a
// process has ended, by Close too; it should have Mend called.
func Open(ctx context.Context, cfg Config, image sandbox.Image, memory sexpr.Value, sets uint64, onDeath func()) (*Line, error) {
	cfg.defaults()
	image.Memory, image.Sets = memory, sets
	engine, err := openEngine(ctx, cfg, image)
	if err != nil {
		return nil, err
	}
	return newLine(cfg, image, engine, sets, onDeath), nil
}

func newLine(cfg Config, image sandbox.Image, engine sandbox.Engine, sets uint64, onDeath func()) *Line {
	l := &Line{cfg: cfg, image: image, engine: engine, base: sets, sets: sets, delta: map[string]sandbox.Effect{}, onDeath: onDeath}
	l.serving, l.standby = l.fork(0), l.fork(0)
	return l
}

// Starting a zygote is tried again, unless it took long to fail: a machine that is
// short of something for a moment must not look like code that cannot start.
const (
	starts     = 3
	startPause = 100 * time.Millisecond
	startLong  = time.Second
)

func openEngine(ctx context.Context, cfg Config, image sandbox.Image) (engine sandbox.Engine, err error) {
	cfg.Sandbox.Counters = true
	for n := range starts {
		began := time.Now()
		engine, err = sandbox.Open(ctx, cfg.Sandbox, image)
		if err == nil || ctx.Err() != nil || n == starts-1 || time.Since(began) > startLong {
			break
		}
		time.Sleep(startPause)
	}
	return engine, err
}

// fork starts one more process after a pause.
func (l *Line) fork(pause time.Duration) *replica {
	engine := l.engine
	start := func(ctx context.Context) (*sandbox.Shadow, error) {
		select {
		case <-time.After(pause):
			return engine.Start(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	catchUp := make([]sandbox.Effect, 0, len(l.delta))
	for _, e := range l.delta {
		catchUp = append(catchUp, e)
	}
	r := newReplica(start, l.cfg.Request, l.base, l.sets, catchUp)
	died := l.onDeath
	go func() {
		<-r.ended
		died()
	}()
	return r
}

// Ready waits until the serving process holds all that was committed.
func (l *Line) Ready(ctx context.Context) error {
	_, _, err := l.serving.take(ctx)
	if err == nil {
		l.serving.leave()
	}
	return err
}

// Serve has the serving process carry out a call. With commit, the process takes
// the call's write-set in, and Committed must follow if there is one. An error
// means that the process is dead or will be: Mend, then serve again.
func (l *Line) Serve(ctx context.Context, commit bool, before []sandbox.Effect, request sexpr.Value) (*sandbox.Answer, error) {
	return l.serving.ask(ctx, commit, before, request)
}

// Invariant asks the serving process whether the agent finds itself in order.
func (l *Line) Invariant(ctx context.Context) (broken string, err error) {
	shadow, _, err := l.serving.take(ctx)
	if err != nil {
		return "", err
	}
	defer l.serving.leave()
	if broken, err = shadow.Invariant(ctx); err != nil {
		l.serving.end(err)
	}
	return broken, err
}

// Committed takes in a write-set: changes of memory, one at least and nothing else.
// here says that the serving process made it, and has it.
func (l *Line) Committed(changes []sandbox.Effect, here bool) error {
	for _, e := range changes {
		key, err := sexpr.Canonical(e[1])
		if err != nil {
			return err
		}
		l.delta[string(key)] = e
		if l.rebasing != nil {
			l.rebasing.delta[string(key)] = e
		}
	}
	l.sets++
	if here {
		l.serving.committedItself()
	} else {
		l.serving.committed(changes)
	}
	l.standby.committed(changes)
	return nil
}

// Mend puts new processes where dead ones were. A dead serving process is replaced
// by the standby once it has been reaped; the death is returned, else nil. The
// error wraps ErrHopeless when restarting is not going to help, and ErrDown where the line
// must be opened anew.
func (l *Line) Mend(ctx context.Context) (*Death, error) {
	began := time.Now()
	if l.serving.dead() {
		<-l.serving.ended // reaped: never two that serve
		death := &Death{Why: l.serving.why()}
		if l.down() && l.standby.dead() {
			return death, fmt.Errorf("%w: %w", ErrDown, death.Why)
		}
		pause, hopeless := l.cfg.Died(time.Now(), l.serving.served > 0)
		if hopeless {
			return death, fmt.Errorf("%w: %d deaths without an answer, the last: %w", ErrHopeless, len(l.cfg.barren), death.Why)
		}
		l.serving, l.standby = l.standby, l.fork(pause)
		if err := l.ready(ctx); err != nil {
			return death, err
		}
		death.Took = time.Since(began)
		l.closeOld()
		return death, nil
	}
	if l.standby.dead() && !l.down() {
		<-l.standby.ended
		pause, hopeless := l.cfg.Died(time.Now(), false)
		if hopeless {
			pause = l.cfg.Most
		}
		l.standby = l.fork(pause)
	}
	return nil, nil
}

// ready waits for the serving process; a dead one is left for the next Mend.
func (l *Line) ready(ctx context.Context) error {
	err := l.Ready(ctx)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// Replace ends the serving process, for a reason; Mend puts the standby in its
// place.
func (l *Line) Replace(why error) {
	l.serving.end(why)
}

// Barren is how many processes have died lately without an answer.
func (l *Line) Barren() int { return len(l.cfg.barren) }

// Retry forgets the deaths, after ErrHopeless, and goes on.
func (l *Line) Retry() {
	l.cfg.Reset()
	l.serving, l.standby = l.standby, l.fork(l.cfg.withDefaults().Most)
	l.closeOld()
}

// Counters is what the serving process says of itself; ok is false while it starts
// and where it has no page.
func (l *Line) Counters() (c sandbox.Counters, ok bool) {
	shadow := l.shadow()
	if shadow == nil {
		return c, false
	}
	return shadow.Counters()
}

// CPU is the processor time that the serving process has used; 0 while it starts.
func (l *Line) CPU() time.Duration {
	if shadow := l.shadow(); shadow != nil {
		return shadow.CPU()
	}
	return 0
}

func (l *Line) shadow() *sandbox.Shadow {
	l.serving.mu.Lock()
	defer l.serving.mu.Unlock()
	return l.serving.shadow
}

// Resident is the memory of the serving process that is in RAM, in bytes, pages
// shared with the zygote counted; 0 if that cannot be read.
func (l *Line) Resident() int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", l.PID()))
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// PID is the serving process, 0 while it starts.
func (l *Line) PID() int {
	if shadow := l.shadow(); shadow != nil {
		return shadow.PID
	}
	return 0
}

// Close ends all processes.
func (l *Line) Close() {
	l.serving.close()
	l.standby.close()
	l.closeOld()
	l.engine.Close()
	if l.rebasing != nil {
		l.rebasing.drop()
	}
}

// rebase is a new zygote in the making.
type rebase struct {
	sets  uint64
	delta map[string]sandbox.Effect // since sets
	done  chan struct{}
	stop  context.CancelFunc
	made  sandbox.Engine
	err   error
}

// Heavy says that Rebase is due: the zygote is gone, or a process forked now has too much
// to take in.
func (l *Line) Heavy() bool { return l.rebasing == nil && (len(l.delta) >= l.cfg.Rebase || l.down()) }

// down says that the zygote is gone: its processes go on, and no other can be forked.
func (l *Line) down() bool {
	select {
	case <-l.engine.Down():
		return true
	default:
		return false
	}
}

// Zygote is the process that the others are forked from, 0 where there is none.
func (l *Line) Zygote() int {
	if z, ok := l.engine.(interface{ PID() int }); ok {
		return z.PID()
	}
	return 0
}

// Rebase starts to make a zygote that holds the memory of this moment, which is
// given. done is called, from another goroutine, when Rebased should be.
func (l *Line) Rebase(memory sexpr.Value, done func()) {
	ctx, stop := context.WithCancel(context.Background())
	image := l.image
	image.Memory, image.Sets = memory, l.sets
	r := &rebase{sets: l.sets, delta: map[string]sandbox.Effect{}, done: make(chan struct{}), stop: stop}
	l.rebasing = r
	go func() {
		r.made, r.err = openEngine(ctx, l.cfg, image)
		close(r.done)
		done()
	}()
}

// Rebased puts the new zygote in place. The process that serves goes on, with the old
// zygote until it ends.
func (l *Line) Rebased() error {
	r := l.rebasing
	if r == nil {
		return nil
	}
	<-r.done
	l.rebasing = nil
	r.stop()
	if r.err != nil {
		return r.err
	}
	l.standby.close()
	if l.old == nil {
		l.old = l.engine
	} else { // of this one the standby alone came
		l.engine.Close()
	}
	l.engine, l.base, l.delta = r.made, r.sets, r.delta
	l.standby = l.fork(0)
	return nil
}

func (l *Line) closeOld() {
	if l.old != nil {
		l.old.Close()
		l.old = nil
	}
}

func (r *rebase) drop() {
	r.stop()
	<-r.done
	if r.err == nil {
		r.made.Close()
	}
}
