package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// advisory is what the server says of a message whose last try was over.
type advisory struct {
	Sequence uint64    `json:"stream_seq"`
	Time     time.Time `json:"timestamp"`
}

// readDead takes in the advisories that were stored since it last did. We hear of each
// when it is published, unless we are cut off then.
func (q *Queue) readDead(ctx context.Context) error {
	for {
		m, err := q.deads.GetMsg(ctx, q.deadRead+1, jetstream.WithGetMsgSubject(deadSubject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		q.mark(m.Data)
		q.deadRead = m.Sequence
	}
}

// mark takes in an advisory.
func (q *Queue) mark(data []byte) {
	var a advisory
	if json.Unmarshal(data, &a) != nil {
		return // of another version
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.dead[a.Sequence].Equal(a.Time) {
		q.dead[a.Sequence] = a.Time
		close(q.died)
		q.died = make(chan struct{})
	}
}

// deadline is when the last try of a message was over, or zero; died is closed when that
// may have changed.
func (q *Queue) deadline(seq uint64) (died <-chan struct{}, dead time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.died, q.dead[seq]
}

// errAlive says that an advisory was of another message.
var errAlive = errors.New("it is alive")

// bury ends a job that an advisory of that time is about: with its result if there is
// one nevertheless, with errAlive if it is about another message of that sequence, whose
// stream is gone, and with neither result nor error if it must be submitted again.
func (q *Queue) bury(ctx context.Context, j *job, dead time.Time) (result []byte, found bool, err error) {
	if result, found, err = q.stored(ctx, j.id); err != nil || found {
		return result, found, err
	}
	var alive bool
	err = q.link.persist(ctx, "looking up a dead job", q.repair, func(ctx context.Context) error {
		m, err := q.work.GetMsg(ctx, j.seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil // another Do of it was quicker
		}
		if err != nil {
			return err
		}
		if alive = m.Subject != j.needs.subject(j.id) || m.Time.After(dead); alive {
			return nil
		}
		return q.work.DeleteMsg(ctx, j.seq)
	})
	switch {
	case err != nil:
		return nil, false, err
	case alive:
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.dead, j.seq)
		return nil, false, errAlive
	case j.returned: // not each try was one
		j.returned = false
		return nil, false, nil
	}
	return nil, false, j.obituary()
}

// obituary says what is known of a dead job.
func (j *job) obituary() error {
	said := "none of them said why: each was killed, or cut off for longer than it may be"
	if j.said != "" {
		said = "the last that was heard of it: " + j.said
	}
	return fmt.Errorf("%d workers took it and none finished it; %s; see what the workers log, and start again when that is cured", Tries, said)
}
