package wal

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// entry is a record on its way to the disk.
type entry struct {
	envelope []byte
	at       time.Time // when it was appended
}

// Stats counts since Open.
type Stats struct {
	Appends uint64 // records made durable
	Bytes   uint64 // of their data
	Syncs   uint64 // groups they were written in, one fsync each

	SyncTime    time.Duration // of all groups together, with the write before the fsync
	SyncTimeMax time.Duration

	// The loss window: what a crash takes. In mode Batch some of it has been
	// acknowledged. The maxima are measured, not the bounds.
	Waiting    int           // records not yet durable
	WaitingMax int           // the most there ever were
	Age        time.Duration // of the oldest of them
	AgeMax     time.Duration // the oldest that one was when it became durable
}

// Stats returns the counts up to now.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting = int(l.next - 1 - l.durable)
	if s.Waiting > 0 {
		s.Age = time.Since(l.oldest)
	}
	return s
}

// Append queues a record of at most MaxRecord bytes and returns its LSN at once. The
// data is copied. Nothing is promised before Wait returns nil. Who never waits must
// bound by himself what is queued.
func (l *Log) Append(data []byte) (LSN, error) {
	if len(data) > MaxRecord {
		return 0, fmt.Errorf("a record of %d bytes: the journal takes %d at most", len(data), MaxRecord)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	if l.closing {
		return 0, ErrClosed
	}
	lsn, now := l.next, time.Now()
	l.next++
	l.queue = append(l.queue, entry{envelope(l.salt, lsn, data), now})
	waiting := int(lsn - l.durable)
	if waiting == 1 {
		l.oldest = now
	}
	l.stats.WaitingMax = max(l.stats.WaitingMax, waiting)
	l.recent = true
	if l.idle || len(l.queue) == l.full() {
		l.idle = false
		l.nudge()
	}
	return lsn, nil
}

// run is the committer: it commits what is due and nobody waits for. Who waits does it
// himself, see await: waking another goroutine takes as long as a good disk.
func (l *Log) run() {
	defer close(l.done)
	for {
		group, durable, delay := l.take()
		if group != nil {
			l.commit(group, durable)
			continue
		}
		if delay < 0 {
			return
		}
		timer := time.NewTimer(delay)
		select {
		case <-l.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// take returns a group if one is due; if not, how long to wait, negative for ever.
func (l *Log) take() (group []entry, durable LSN, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.closing && len(l.queue) == 0 && !l.committing {
		return nil, 0, -1
	}
	if delay = l.delay(); delay > 0 {
		return nil, 0, delay
	}
	group, durable = l.begin()
	return group, durable, 0
}

// begin takes a group that the caller must commit; l.mu is held, and nobody else
// commits.
func (l *Log) begin() (group []entry, durable LSN) {
	n := groupLength(l.queue, l.options.segmentSize())
	group, l.queue = l.queue[:n:n], l.queue[n:]
	l.committing = true
	return group, l.durable
}

// delay is how long the queue may wait for more: not at all if somebody waits for it
// or it is long. While records come, an empty queue is looked at again and again, so
// that Append need not wake the committer for each.
func (l *Log) delay() time.Duration {
	window := SyncDelay
	if l.options.Mode == Batch {
		window = BatchDelay
	}
	switch {
	case l.committing, len(l.queue) == 0 && !l.recent:
		l.idle = true
		return time.Hour // until somebody nudges
	case len(l.queue) == 0:
		l.recent = false
		return window
	case l.closing, l.demand > l.durable, len(l.queue) >= l.full():
		return 0
	}
	return max(0, window-time.Since(l.queue[0].at))
}

// full is how many records are committed without waiting for more. In mode Batch it
// is half of what may be at risk, so that the other half can be acknowledged meanwhile.
func (l *Log) full() int {
	if l.options.Mode == Batch {
		return BatchEntries / 2
	}
	return BatchEntries
}

// groupLength takes entries until a segment's worth: a group is in memory three
// times while raft-wal writes it, and a scan has it in memory once.
func groupLength(queue []entry, limit int) int {
	size := 0
	for i, e := range queue {
		if size += len(e.envelope) + 64; size >= limit { // frame, codec, index
			return i + 1
		}
	}
	return len(queue)
}

// commit makes a group durable and acknowledges it.
func (l *Log) commit(group []entry, durable LSN) {
	l.disk.Lock()
	defer l.disk.Unlock()
	l.store.forget() // it is not all of the segment any more
	logs := make([]*raft.Log, len(group))
	bytes := 0
	for i, e := range group {
		seal(e.envelope, durable)
		logs[i] = &raft.Log{Index: uint64(durable) + uint64(i) + 1, Data: e.envelope}
		bytes += len(e.envelope) - envelopeSize
	}
	began := time.Now()
	if err := l.raft.StoreLogs(logs); err != nil {
		l.poison(err)
		return
	}
	l.acknowledge(group, bytes, began)
	l.awaitRotation()
}

func (l *Log) acknowledge(group []entry, bytes int, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.durable += LSN(len(group))
	l.committing = false
	if len(l.queue) > 0 || l.closing {
		l.nudge()
	}
	if len(l.queue) > 0 {
		l.oldest = l.queue[0].at
	}
	s := &l.stats
	s.Appends += uint64(len(group))
	s.Bytes += uint64(bytes)
	s.Syncs++
	s.SyncTime += time.Since(began)
	s.SyncTimeMax = max(s.SyncTimeMax, time.Since(began))
	s.AgeMax = max(s.AgeMax, time.Since(group[0].at))
	l.announce()
}

// awaitRotation waits for raft-wal's goroutine that begins a new segment, which
// only logs when it fails. A range that does not exist makes DeleteRange wait for it
// and do nothing else.
func (l *Log) awaitRotation() {
	behind := uint64(l.Durable()) + 1
	l.poison(l.raft.DeleteRange(behind, behind))
}
