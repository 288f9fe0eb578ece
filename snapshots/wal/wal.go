// Package wal is the journal of jird's guard: records go in as bytes, in order, and
// come back as the same bytes after a crash. What a record means is not known here.
//
// # Promises
//
// In mode Sync a record is durable when Wait has returned nil for it. In mode Batch
// Wait returns earlier, and a crash loses at most the newest BatchEntries (100)
// records for which it did, of which the oldest is BatchDelay (1 s) old plus the time
// of one commit; Stats says how much was at risk. In both modes what a crash loses is
// a suffix: the records that remain have no gap, no changed byte and no stranger
// among them.
//
// What Open and Replay return is durable and verified. Damage is an error that names
// the file, the place and the records: a changed byte, a missing, cut or old file, or
// a gap never passes for a shorter journal. The first failed write or fsync poisons
// the handle; nothing is tried again. Close it, Open again, replay.
//
// # Assumptions
//
// fsync and fdatasync return nil only if the data is on the medium. A write that is cut
// off harms no byte outside its range (SQLite calls it powersafe overwrite). rename
// is atomic. flock works: the folder is on a local file system.
//
// # Not promised
//
// A CRC is no signature: who can write the folder can forge it. The last group before
// a crash has no witness: if its bytes are changed afterwards it looks torn and is
// dropped, as it does if the last segment is overwritten with zeros. Whoever must not
// miss that remembers Durable elsewhere (a checkpoint does) and compares it with Last
// after Open. A record that was appended but not acknowledged may survive a crash or
// not; if not, its LSN is given again.
//
// # Folder
//
//	LOCK                                    pid of the process that has it open, flock(2)
//	meta                                    the segments and what is known durable, see meta.go
//	00000000000000000001-0000000000000001.wal  a segment: its first LSN, its number, see scan.go
//
// The segments are written by hashicorp/raft-wal v0.4.2 and read by this package,
// because raft-wal checks of what it reads only the last group. The envelope around
// each record is drawn in envelope.go.
package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
)

// Mode says what it takes to acknowledge a record.
type Mode int

const (
	// Sync acknowledges what is durable.
	Sync Mode = iota
	// Batch acknowledges at once, within the bounds of ADR-001.
	Batch
)

// The bounds of a group of records that are made durable together.
const (
	// BatchEntries is how many records may wait before they are committed, and in mode
	// Batch how many of the acknowledged ones may be at risk (ADR-001).
	BatchEntries = 100
	// BatchDelay is how long a record may wait in mode Batch (ADR-001).
	BatchDelay = time.Second
	// SyncDelay is how long a record may wait in mode Sync if nobody waits for it. A
	// caller of Wait pays for a commit, never for this timer.
	SyncDelay = 5 * time.Millisecond
)

// Options of Open. The zero value opens an existing journal in mode Sync.
type Options struct {
	Mode Mode
	// Create makes a journal if the folder has none. Without it that is an error, so
	// that a lost journal is not mistaken for a new one.
	Create bool
	// First is the LSN of the first record of a new journal, 1 if 0. Who goes on
	// after a lost journal begins above every LSN ever given.
	First LSN
	// SegmentSize is the bytes at which a segment is full, 8 MiB if 0, 16 MiB at most.
	// Opening reads the last segment.
	SegmentSize int
	// FS is the folder, for tests; nil for the operating system's, locked.
	FS FS
}

func (o Options) segmentSize() int {
	if o.SegmentSize == 0 {
		return 8 << 20
	}
	return o.SegmentSize
}

// ErrPoisoned is wrapped, with the first failure, by every call that needs the disk
// after a write has failed. ErrClosed is what calls after Close return. ErrTruncated
// is wrapped by Replay if TruncateBefore removed what it was about to read.
var (
	ErrPoisoned  = errors.New("the journal could not be written; close it, open it again and replay")
	ErrClosed    = errors.New("the journal is closed")
	ErrTruncated = errors.New("truncated during the replay")
)

// Log is an open journal. All methods may be called at once.
type Log struct {
	options Options
	fs      *strict
	store   *store
	raft    *raftwal.WAL
	lock    io.Closer
	salt    uint64
	close   func() error // once

	disk sync.Mutex // held by who changes the disk: a commit, a truncation, Close

	mu      sync.Mutex
	queue   []entry
	next    LSN // of the next Append
	durable LSN
	demand  LSN       // somebody waits for this one
	oldest  time.Time // when the first one behind durable was appended
	err     error
	closing bool
	// committing says that somebody took a group and has not acknowledged it.
	committing bool
	recent     bool          // something was appended since the committer looked
	idle       bool          // the committer does not look again by itself
	changed    chan struct{} // closed and replaced when durable or err changes
	stats      Stats

	wake chan struct{} // tells the committer that something is to be done
	done chan struct{} // closed when the committer has ended
}

// Open opens the journal in a folder. It waits for nobody: ErrInUse names the process
// that has it open. A *CorruptError means that records are lost or may be; then
// nothing has been changed, and Verify and Records can look at it. What a crash left
// unfinished is put in order, and see Torn.
func Open(dir string, o Options) (*Log, error) {
	l, err := openLog(dir, o)
	if err != nil {
		return nil, fmt.Errorf("opening the journal in %s: %w", dir, err)
	}
	return l, nil
}

func openLog(dir string, o Options) (l *Log, err error) {
	if o.SegmentSize < 0 || o.SegmentSize > maxSegmentSize {
		return nil, fmt.Errorf("segments of %d bytes: choose 1 to %d, or 0 for 8 MiB", o.SegmentSize, maxSegmentSize)
	}
	l = &Log{options: o, lock: io.NopCloser(nil), changed: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{})}
	folder := o.FS
	if folder == nil {
		if l.lock, err = enter(dir, o.Create); err != nil {
			return nil, err
		}
		folder = osFS{dir: dir}
	}
	l.fs = newStrict(folder)
	l.store = &store{fs: l.fs, options: o}
	if err := l.load(dir); err != nil {
		l.fs.closeAll()
		return nil, errors.Join(err, l.lock.Close())
	}
	l.close = sync.OnceValue(l.shut)
	go l.run()
	return l, nil
}

// enter makes the folder if it may and locks it.
func enter(dir string, create bool) (io.Closer, error) {
	if create {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := syncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
			return nil, err
		}
	}
	return acquire(dir)
}

func (l *Log) load(dir string) (err error) {
	l.raft, err = raftwal.Open(dir,
		raftwal.WithMetaStore(l.store),
		raftwal.WithSegmentFiler(segment.NewFiler(dir, vfs{l.fs, l.store})),
		raftwal.WithSegmentSize(l.options.segmentSize()),
		// What it logs are failures to change the disk, and strict keeps those.
		raftwal.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		return err
	}
	m := l.store.now()
	l.salt, l.durable, l.next = m.Salt, m.Durable, m.Durable+1
	last, err := l.raft.LastIndex()
	if err == nil && LSN(last) != m.Durable && m.first() <= m.Durable {
		err = &CorruptError{File: segment.FileName(m.tail()), Offset: -1, Reason: fmt.Sprintf("raft-wal finds %d as the last record, not %d", last, m.Durable)}
	}
	if err != nil {
		l.raft.Close()
	}
	return err
}

// Torn is the bytes of an unfinished group that Open dropped; 0 after a clean end.
func (l *Log) Torn() int64 { return l.store.torn }

// First is the LSN of the oldest record; Last()+1 if there is none.
func (l *Log) First() LSN { return l.store.now().first() }

// Last is the LSN of the newest record, durable or not; First()-1 if there is none.
func (l *Log) Last() LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next - 1
}

// Durable is the LSN up to which all records survive a crash.
func (l *Log) Durable() LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// Replay yields the durable records from an LSN on, or from First if that is greater.
// It ends after the first error: a *CorruptError for damage. Its data shares memory
// with its segment: copy what is to be kept.
func (l *Log) Replay(from LSN) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		durable := l.Durable()
		m := l.store.now()
		m.Durable = durable
		each(l.fs, m, from, l.store.forget(), func(rec Record, err error) bool {
			var damage *CorruptError
			switch {
			case errors.As(err, &damage) && damage.Harmless:
				return true
			case damage != nil && damage.LSN > 0 && damage.Through < l.First():
				yield(Record{}, fmt.Errorf("record %d: %w", damage.LSN, ErrTruncated))
				return false
			case err != nil:
				yield(Record{}, err)
				return false
			}
			return rec.LSN <= durable && yield(rec, nil)
		})
	}
}

// TruncateBefore removes the records below an LSN, which must be durable; whole
// segments leave the disk. It is durable on return. To remove all, pass Durable()+1.
func (l *Log) TruncateBefore(lsn LSN) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if err := l.failure(); err != nil {
		return err
	}
	if durable := l.Durable(); lsn > durable+1 {
		return fmt.Errorf("truncating the journal before record %d: only %d are durable", lsn, durable)
	}
	first := l.First()
	if lsn <= first {
		return nil
	}
	return l.poison(l.raft.DeleteRange(uint64(first), uint64(lsn-1)))
}

// Close commits what was appended and closes the journal. Its error says that
// something is not durable that was appended; what was acknowledged in mode Sync is.
func (l *Log) Close() error { return l.close() }

func (l *Log) shut() error {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.nudge()
	<-l.done

	l.disk.Lock()
	defer l.disk.Unlock()
	failed := l.failure()
	err := l.raft.Close()
	if failed == nil && err == nil {
		err = l.store.closeClean(l.Durable())
	}
	l.fs.closeAll()
	l.fail(ErrClosed)
	return errors.Join(failed, err, l.lock.Close())
}

func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// poison keeps the first failure of the disk, which raft-wal may only have logged,
// and tells everybody. err is what raft-wal says.
func (l *Log) poison(err error) error {
	if broken := l.fs.broken(); broken != nil {
		err = broken
	}
	if err == nil {
		return nil
	}
	return l.fail(fmt.Errorf("%w: %w", ErrPoisoned, err))
}

func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		l.announce()
		l.nudge()
	}
	return l.err
}

// announce wakes all who wait; l.mu is held.
func (l *Log) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Log) nudge() {
	select {
	case l.wake <- struct{}{}:
	default: // it has been told
	}
}

// Wait returns nil when the record is acknowledged: in mode Sync when it is durable,
// in mode Batch when at most BatchEntries records up to it are not. An error means
// that it may be lost, or not: ErrPoisoned, ErrClosed or the context's.
func (l *Log) Wait(ctx context.Context, lsn LSN) error {
	if l.options.Mode == Batch {
		return l.await(ctx, lsn, l.vouching(lsn), 0)
	}
	return l.await(ctx, lsn, l.vouching(lsn), lsn)
}

// vouching is the record that must be durable for another one to be acknowledged.
func (l *Log) vouching(lsn LSN) LSN {
	if l.options.Mode == Batch {
		return max(lsn, BatchEntries) - BatchEntries
	}
	return lsn
}

// Acknowledged says that Wait would return nil at once.
func (l *Log) Acknowledged(lsn LSN) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && lsn < l.next && l.durable >= l.vouching(lsn)
}

// Sync returns nil when all that was appended before is durable, in either mode.
func (l *Log) Sync(ctx context.Context) error {
	last := l.Last()
	return l.await(ctx, last, last, last)
}

// await waits until durable has reached until, and demands a commit up to demand. If
// none is under way it commits itself, unless it may have to give up waiting.
func (l *Log) await(ctx context.Context, lsn, until, demand LSN) error {
	for {
		l.mu.Lock()
		durable, err, changed := l.durable, l.err, l.changed
		if lsn >= l.next {
			err = fmt.Errorf("record %d was not appended: the last one is %d", lsn, l.next-1)
		}
		if err == nil && demand > durable {
			l.demand = max(l.demand, demand)
			if !l.committing && ctx.Done() == nil {
				group, durable := l.begin()
				l.mu.Unlock()
				l.commit(group, durable)
				continue
			}
			l.nudge()
		}
		l.mu.Unlock()
		if durable >= until && (err == nil || durable >= lsn) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
