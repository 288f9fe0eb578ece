package supervise

import (
	"context"
	"errors"
	"sync"
	"time"

	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// replica is one process that holds the agent's memory. It starts by itself, takes
// in what is committed elsewhere in the background, and serves calls in between.
//
// Its goroutine owns the process; the line's goroutine queues work.
type replica struct {
	start   func(context.Context) (*sandbox.Shadow, error)
	request time.Duration // limit of one request of ours
	cancel  context.CancelFunc
	ended   chan struct{} // closed when the process is gone, or never came

	mu      sync.Mutex
	changed sync.Cond
	queue   []sandbox.Effect // committed elsewhere, not taken in yet
	has     uint64           // write-sets in the process
	wants   uint64           // has, once the queue is empty
	first   time.Time        // when the oldest of the queue came
	busy    bool             // the process is being talked with
	ready   bool             // it has been caught up for the first time
	takers  int              // that wait for the process
	shadow  *sandbox.Shadow
	err     error // why it ended
	served  int   // calls answered
}

// newReplica starts a process that is behind by the effects catchUp.
func newReplica(start func(context.Context) (*sandbox.Shadow, error), request time.Duration, has, wants uint64, catchUp []sandbox.Effect) *replica {
	ctx, cancel := context.WithCancel(context.Background())
	r := &replica{
		start: start, request: request, cancel: cancel, ended: make(chan struct{}),
		has: has, wants: wants, queue: catchUp,
	}
	r.changed.L = &r.mu
	go r.run(ctx)
	return r
}

func (r *replica) run(ctx context.Context) {
	defer close(r.ended)
	err := r.live(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	if r.shadow != nil {
		r.shadow.Kill()
	}
	r.changed.Broadcast()
}

func (r *replica) live(ctx context.Context) error {
	shadow, err := r.start(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.shadow = shadow
	r.mu.Unlock()
	gone := context.AfterFunc(ctx, func() { r.wake() })
	defer gone()
	go func() { // the process may die while nobody talks with it
		<-shadow.Exited()
		r.cancel()
	}()
	for {
		if err := r.catchUp(ctx, shadow); err != nil {
			return err
		}
		r.mu.Lock()
		for r.busy || !r.due() {
			if ctx.Err() != nil {
				r.mu.Unlock()
				return errors.New("the process ended")
			}
			r.changed.Wait()
		}
		r.mu.Unlock()
	}
}

func (r *replica) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed.Broadcast()
}

// gatherFor is how long write-sets are gathered before a process takes them in: for
// each by itself it would take a core from the process that serves. One that is needed
// takes them in at once.
const gatherFor = 10 * time.Millisecond

// due says whether the queue should be taken in now; r.mu is held.
func (r *replica) due() bool {
	return len(r.queue) > 0 && (r.takers > 0 || time.Since(r.first) >= gatherFor)
}

// catchUp takes the queue in as one request.
func (r *replica) catchUp(ctx context.Context, shadow *sandbox.Shadow) error {
	r.mu.Lock()
	queue, from, to := r.queue, r.has, r.wants
	r.queue, r.busy = nil, true
	r.mu.Unlock()
	var err error
	if from != to {
		ask, cancel := context.WithTimeout(ctx, r.request)
		err = shadow.Apply(ask, from, to, queue)
		cancel()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.has, r.busy, r.ready = to, false, err == nil
	r.changed.Broadcast()
	return err
}

// committed queues a write-set that another process made.
func (r *replica) committed(effects []sandbox.Effect) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		r.first = time.Now()
		time.AfterFunc(gatherFor, r.wake)
	}
	r.queue = append(r.queue, effects...)
	r.wants++
	if r.due() {
		r.changed.Broadcast()
	}
}

// committedItself counts a write-set that this process made.
func (r *replica) committedItself() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.has++
	r.wants++
}

// take waits until the process holds all that is committed and nobody talks with
// it, and then keeps it for the caller, who must call leave.
func (r *replica) take(ctx context.Context) (*sandbox.Shadow, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for waits := false; ; {
		switch {
		case r.err != nil:
			return nil, 0, r.err
		case ctx.Err() != nil:
			return nil, 0, ctx.Err()
		case r.shadow != nil && !r.busy && r.has == r.wants && r.ready:
			r.busy = true
			return r.shadow, r.has, nil
		}
		if !waits {
			waits = true
			r.takers++
			r.changed.Broadcast() // what is being gathered is due
			stop := context.AfterFunc(ctx, r.wake)
			defer func() { stop(); r.takers-- }()
		}
		r.changed.Wait()
	}
}

func (r *replica) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = false
	if r.takers > 0 || r.due() {
		r.changed.Broadcast()
	}
}

// dead says whether the process has ended, or is about to: see ended.
func (r *replica) dead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err != nil
}

func (r *replica) why() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// ask has the process serve a call.
func (r *replica) ask(ctx context.Context, commit bool, before []sandbox.Effect, request sexpr.Value) (*sandbox.Answer, error) {
	shadow, sets, err := r.take(ctx)
	if err != nil {
		return nil, err
	}
	defer r.leave()
	answer, err := shadow.Live(ctx, sets, commit, before, request)
	if err != nil {
		r.end(err)
		return nil, err
	}
	r.mu.Lock()
	r.served++
	r.mu.Unlock()
	return answer, nil
}

// end kills the process, for a reason, without waiting.
func (r *replica) end(why error) {
	r.mu.Lock()
	if r.err == nil {
		r.err = why
	}
	r.mu.Unlock()
	r.cancel()
	r.wake()
}

// close ends the process and waits until it has been reaped.
func (r *replica) close() {
	r.cancel()
	r.wake()
	<-r.ended
}
