package remote

import (
	"context"
	"maps"
	"slices"
	"time"
)

// watch looks every few seconds at what should be on the server, for all jobs together.
// One that waits would not notice that the stream or its consumer was deleted: a server
// says nothing of that, and one of version 2.9 does not even answer who asks for a
// message of a stream that is gone. A server that is slow gets no more than one look at a
// time.
func (q *Queue) watch() {
	for cut := false; ; {
		healing := q.link.healing()
		select {
		case <-healing:
			cut = true
		case <-time.After(q.link.pace.look):
		case <-q.link.ctx.Done():
			return
		case <-q.ctx.Done():
			return
		}
		err := q.link.limited(q.ctx, buildLimit, q.repair)
		if err == nil && cut {
			q.renew() // what was said meanwhile was not heard
			cut = false
		}
	}
}

// repair makes what is missing on the server. Jobs find that out all at once: one attempt
// is for all who asked before it ended.
func (q *Queue) repair(ctx context.Context) error {
	asked := time.Now()
	select {
	case q.repairing <- struct{}{}:
		defer func() { <-q.repairing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if q.repaired.After(asked) {
		return q.unrepaired
	}
	q.unrepaired = q.rebuild(ctx)
	q.repaired = time.Now()
	return q.unrepaired
}

// rebuild is repair, for one at a time.
func (q *Queue) rebuild(ctx context.Context) error {
	all, err := build(ctx, q.link.js)
	if err != nil {
		return err
	}
	q.mu.Lock()
	kinds := slices.Collect(maps.Keys(q.kinds))
	q.mu.Unlock()
	for _, n := range kinds {
		if err := q.makeConsumer(ctx, n); err != nil {
			return err
		}
	}
	if now := created(all); !slices.EqualFunc(now, q.created, time.Time.Equal) {
		q.created, q.deadRead = now, 0
		q.renew()
	}
	return q.readDead(ctx)
}

// ready makes the consumer of a kind of job the first time; watch looks after it from
// then on. Jobs that come meanwhile may ask too, which does no harm.
func (q *Queue) ready(ctx context.Context, n Needs) error {
	q.mu.Lock()
	known := q.kinds[n]
	q.mu.Unlock()
	if known {
		return nil
	}
	if err := q.makeConsumer(ctx, n); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kinds[n] = true
	return nil
}

// makeConsumer makes a consumer that is missing and wakes the workers that wait for it.
func (q *Queue) makeConsumer(ctx context.Context, n Needs) error {
	made, err := buildConsumer(ctx, q.link.js, n, q.link.pace.ack)
	if err != nil || !made {
		return err
	}
	return q.link.nc.Publish(wakeSubject, nil)
}

// renewal is closed when the streams are next others, or messages may have been missed.
func (q *Queue) renewal() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.renewed
}

func (q *Queue) renew() {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.renewed)
	q.renewed = make(chan struct{})
}
