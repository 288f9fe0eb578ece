package guard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"sync"
	"time"

	"jird/orchestrator/journal"
	"jird/snapshots"
	"jird/snapshots/wal"
)

// Disk is the Store of an agent: a journal in a folder, and checkpoints in a vault.
type Disk struct {
	Agent string
	Vault *snapshots.Vault
	Dir   string // of the journal
	Mode  wal.Mode

	mu     sync.Mutex
	passed []snapshots.StepBack // by Newest
}

var _ Store = (*Disk)(nil)

// inUseFor is how long a journal that somebody has open is waited for: one who looks
// at it, or a child of a guard that was killed, until it runs its own program.
const inUseFor = time.Second

// OpenJournal implements Store.
func (d *Disk) OpenJournal(create bool) (Opened, error) {
	l, err := wal.Open(d.Dir, wal.Options{Mode: d.Mode, Create: create})
	for began := time.Now(); errors.Is(err, wal.ErrInUse) && time.Since(began) < inUseFor; {
		time.Sleep(10 * time.Millisecond)
		l, err = wal.Open(d.Dir, wal.Options{Mode: d.Mode, Create: create})
	}
	if err != nil {
		return nil, err
	}
	return opened{l}, nil
}

// Salvage implements Store. A journal that is in use is waited for, as in OpenJournal:
// records that could be read in a moment must not be given up.
func (d *Disk) Salvage(from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for began, inUse := time.Now(), true; inUse; {
			inUse = false
			for e, err := range entries(wal.Records(d.Dir, wal.LSN(from))) {
				if inUse = errors.Is(err, wal.ErrInUse) && time.Since(began) < inUseFor; inUse {
					time.Sleep(10 * time.Millisecond)
					break
				}
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

func entries(records iter.Seq2[wal.Record, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for r, err := range records {
			if !yield(Entry{uint64(r.LSN), r.Data}, err) {
				return
			}
		}
	}
}

// Renew implements Store.
func (d *Disk) Renew(next uint64) error {
	aside := fmt.Sprintf("%s.aside-%s", d.Dir, time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Rename(d.Dir, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := wal.Open(d.Dir, wal.Options{Create: true, First: wal.LSN(next)})
	if err != nil {
		return err
	}
	return l.Close()
}

// Newest implements Store. What had to be passed over stays where it is until there is a
// newer checkpoint.
func (d *Disk) Newest() (*Saved, []string, error) {
	c, steps, err := d.Vault.Newest(d.Agent)
	d.mu.Lock()
	d.passed = steps
	d.mu.Unlock()
	var passed []string
	for _, s := range steps {
		passed = append(passed, s.Error())
	}
	if errors.Is(err, snapshots.ErrNoCheckpoint) {
		return nil, passed, nil
	}
	if err != nil {
		return nil, passed, err
	}
	s := &Saved{LSN: c.LSN, Clean: c.Clean, Live: c.Image, Time: c.Time}
	for _, p := range c.Parts {
		s.Parts = append(s.Parts, journal.Part{Name: p.Name, Pieces: p.Pieces})
	}
	return s, passed, nil
}

// PutCheckpoint implements Store.
func (d *Disk) PutCheckpoint(s Saved) (oldest uint64, err error) {
	c := snapshots.Checkpoint{Agent: d.Agent, LSN: s.LSN, Clean: s.Clean, Image: s.Live, Time: s.Time}
	for _, p := range s.Parts {
		c.Parts = append(c.Parts, snapshots.Part{Name: p.Name, Pieces: p.Pieces})
	}
	if _, err := d.Vault.PutCheckpoint(c); err != nil {
		return 0, err
	}
	// What is damaged would keep every chunk from being removed.
	d.mu.Lock()
	_, err = d.Vault.Quarantine(d.passed)
	d.passed = nil
	d.mu.Unlock()
	pruned, also := d.Vault.KeepCheckpoints(d.Agent, snapshots.MinGenerations)
	if err = errors.Join(err, also); err != nil {
		err = fmt.Errorf("it was made, but what is older could not be cleared: %w", err)
	}
	return pruned.Oldest, err
}

// opened is a journal with the numbers that this package uses.
type opened struct{ *wal.Log }

func (o opened) First() uint64 { return uint64(o.Log.First()) }
func (o opened) Last() uint64  { return uint64(o.Log.Last()) }

func (o opened) Records(from uint64) iter.Seq2[Entry, error] {
	return entries(o.Log.Replay(wal.LSN(from)))
}

func (o opened) Append(data []byte) (uint64, error) {
	lsn, err := o.Log.Append(data)
	return uint64(lsn), err
}

func (o opened) Wait(ctx context.Context, lsn uint64) error { return o.Log.Wait(ctx, wal.LSN(lsn)) }

func (o opened) Acknowledged(lsn uint64) bool { return o.Log.Acknowledged(wal.LSN(lsn)) }

func (o opened) Sync(ctx context.Context, _ uint64) error { return o.Log.Sync(ctx) }

func (o opened) TruncateBefore(lsn uint64) error { return o.Log.TruncateBefore(wal.LSN(lsn)) }

func (o opened) LossWindow() time.Duration {
	s := o.Log.Stats()
	return max(s.Age, s.AgeMax)
}
