package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// job is what Do knows of one.
type job struct {
	id       string
	needs    Needs
	seq      uint64    // of its message in the work stream
	beat     time.Time // when a worker was last heard of
	said     string    // why a worker could not do it, the last
	returned bool      // a worker that ended gave it back
}

// Do submits a job and returns its result. id stands for all that the result depends
// on: where one is stored for it already, that is returned, and a job that another
// submitter waits for is shared. It is 1 to 128 letters, digits, - and _. body may be of
// any size.
//
// Do waits until there is a result, for ever if need be, and returns early only when
// ctx ends (the job is withdrawn), the queue is closed, the server refuses us, or
// Tries workers failed at it.
func (q *Queue) Do(ctx context.Context, id string, needs Needs, body []byte) (result []byte, err error) {
	if err := errors.Join(checkID(id), needs.check()); err != nil {
		return nil, err
	}
	ctx, release, err := q.within(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	notes := make(chan *nats.Msg, 64)
	sub, err := q.link.nc.ChanSubscribe(heardSubject(id), notes)
	if err != nil {
		if failed := q.link.failure(); failed != nil {
			err = failed
		}
		return nil, err
	}
	defer sub.Unsubscribe()
	j := &job{id: id, needs: needs}
	result, err = q.carry(ctx, j, body, notes)
	if err != nil {
		q.withdraw(j)
		return nil, fmt.Errorf("job %s: %w", id, err)
	}
	return result, nil
}

// carry submits until there is a result.
func (q *Queue) carry(ctx context.Context, j *job, body []byte, notes <-chan *nats.Msg) ([]byte, error) {
	msg := nats.NewMsg(j.needs.subject(j.id))
	if msg.Data = body; len(body) > Inline {
		hash, drop, err := q.put(ctx, body)
		if err != nil {
			return nil, err
		}
		defer drop()
		msg.Data = nil
		msg.Header.Set(objectHeader, hash)
	}
	// The first time the id names the message, so that it is dropped where another has
	// submitted it; that name is used up when the message was lost.
	for name := j.id; ; name = j.id + "." + nuid.Next() {
		renewed := q.renewal()
		inStream := false
		if name != j.id {
			// Before its result, since a job whose result is stored leaves the stream.
			var err error
			if inStream, err = q.find(ctx, j); err != nil {
				return nil, err
			}
		}
		result, found, err := q.stored(ctx, j.id)
		if err != nil || found {
			return result, err
		}
		if !inStream {
			if inStream, err = q.submit(ctx, j, name, msg); err != nil {
				return nil, err
			}
		}
		if !inStream {
			continue
		}
		result, found, err = q.await(ctx, j, notes, renewed)
		if err != nil || found {
			return result, err
		}
	}
}

// submit publishes a job. It is not in the stream afterwards if the server knows its
// name from before, or if another submitter was quicker.
func (q *Queue) submit(ctx context.Context, j *job, name string, msg *nats.Msg) (inStream bool, err error) {
	err = q.link.persist(ctx, "submitting", q.repair, func(ctx context.Context) error {
		if err := q.ready(ctx, j.needs); err != nil {
			return err
		}
		ack, err := q.link.js.PublishMsg(ctx, msg, jetstream.WithMsgID(name), jetstream.WithExpectStream(workStream),
			jetstream.WithExpectLastSequencePerSubject(0), jetstream.WithRetryAttempts(0))
		if taken(err) {
			return nil
		}
		if err == nil && !ack.Duplicate {
			inStream, j.seq = true, ack.Sequence
		}
		return err
	})
	return inStream, err
}

// stored looks a result up.
func (q *Queue) stored(ctx context.Context, id string) (result []byte, found bool, err error) {
	var m *jetstream.RawStreamMsg
	err = q.link.persist(ctx, "looking up a result", q.repair, func(ctx context.Context) (err error) {
		m, err = q.results.GetLastMsgForSubject(ctx, resultSubject(id))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		return err
	})
	if err != nil || m == nil {
		return nil, false, err
	}
	hash := m.Header.Get(objectHeader)
	if hash == "" {
		return m.Data, true, nil
	}
	err = q.link.persist(ctx, "reading a large result", nil, func(limited context.Context) error {
		result, err = read(ctx, q.link, outputBucket, hash)
		if found = err == nil; !found && lost(err) {
			// The job must be done again, and its result must find the place empty.
			err = q.results.DeleteMsg(limited, m.Sequence)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				err = nil
			}
		}
		return err
	})
	return result, found, err
}

// find looks for the job in the work stream.
func (q *Queue) find(ctx context.Context, j *job) (found bool, err error) {
	err = q.link.persist(ctx, "looking up a job", q.repair, func(ctx context.Context) error {
		m, err := q.work.GetLastMsgForSubject(ctx, j.needs.subject(j.id))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err == nil {
			found, j.seq = true, m.Sequence
		}
		return err
	})
	return found, err
}

// await waits for the result of a job that is in the stream. Without a result and
// without an error it must be submitted again. renewed was not closed before it was
// submitted.
func (q *Queue) await(ctx context.Context, j *job, notes <-chan *nats.Msg, renewed <-chan struct{}) (result []byte, found bool, err error) {
	impatient := time.NewTimer(q.link.pace.patience)
	defer impatient.Stop()
	every := q.link.pace.check // doubled with each check: nearly always the server tells
	check := time.NewTimer(jittered(every))
	defer check.Stop()
	for {
		died, dead := q.deadline(j.seq)
		if !dead.IsZero() {
			result, found, err = q.bury(ctx, j, dead)
			if !errors.Is(err, errAlive) {
				return result, found, err
			}
			continue
		}
		select {
		case m := <-notes:
			if m.Subject != noteSubject(j.id) {
				return q.received(ctx, j, m)
			}
			j.hear(m)
		case <-died:
		case <-impatient.C:
			if j.beat.IsZero() {
				q.lament(j.needs)
			}
		case <-renewed:
			// All jobs look: not all at once.
			renewed = q.renewal()
			every = q.link.pace.check
			check.Reset(rand.N(every / 10))
		case <-check.C:
			every = min(2*every, 10*q.link.pace.check)
			check.Reset(jittered(every))
			waits, result, found, err := q.check(ctx, j)
			if !waits {
				return result, found, err
			}
		case <-q.link.ctx.Done():
			return nil, false, q.link.failure()
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// check looks whether a job still waits, or what else has become of it.
func (q *Queue) check(ctx context.Context, j *job) (waits bool, result []byte, found bool, err error) {
	if result, found, err = q.stored(ctx, j.id); err != nil || found {
		return false, result, found, err
	}
	if time.Since(j.beat) < q.link.pace.ack {
		return true, nil, false, nil
	}
	q.lament(j.needs)
	waits, err = q.find(ctx, j)
	return waits, nil, false, err
}

// received is the result that was just stored.
func (q *Queue) received(ctx context.Context, j *job, m *nats.Msg) (result []byte, found bool, err error) {
	if m.Header.Get(objectHeader) == "" {
		return m.Data, true, nil
	}
	return q.stored(ctx, j.id)
}

// hear takes in what a worker says of the job.
func (j *job) hear(m *nats.Msg) {
	switch m.Header.Get(noteHeader) {
	case noteBeat:
		j.beat = time.Now()
	case noteFailed:
		j.said = string(m.Data)
	case noteReturned:
		j.returned = true
	}
}

// withdraw takes a job out of the stream, if that is possible now: it would be done in
// vain.
func (q *Queue) withdraw(j *job) {
	if j.seq == 0 || !q.link.nc.IsConnected() || q.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(q.ctx, q.link.pace.withdraw)
	defer cancel()
	q.work.Purge(ctx, jetstream.WithPurgeSubject(j.needs.subject(j.id)))
}

// jittered keeps jobs that wait from looking all at once.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }
