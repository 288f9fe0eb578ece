package experiments

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"jird/experiments/ledger"
	"jird/orchestrator"
)

var errLocked = errors.New("locked by another process")

// lockRun keeps a run for one process, which loses it when it ends, however it
// ends. One file serves all runs: each locks one byte of it, at an offset made
// from its id. The locks belong to the open file (fcntl(2), F_OFD_SETLK), so they
// hold between goroutines too.
func (l *Lab) lockRun(run string) (unlock func(), err error) {
	f, err := l.askLock(run, unix.F_OFD_SETLK, &unix.Flock_t{})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, errLocked
	}
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// lockAlone is lockRun for what somebody asks for, and calls what.
func (l *Lab) lockAlone(id, what string) (unlock func(), err error) {
	unlock, err = l.lockRun(id)
	if errors.Is(err, errLocked) {
		err = fmt.Errorf("%s is under way in another process; wait for it, or interrupt it there", what)
	}
	return unlock, err
}

// claim locks the first id, of those of a new run's or tournament's repeats, that no
// other process has begun.
func (l *Lab) claim(identify func(repeat int) (id string)) (unlock func(), err error) {
	for repeat := 0; ; repeat++ {
		id := identify(repeat)
		unlock, err := l.lockRun(id)
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return nil, err
		}
		run, err := l.Ledger.Has(id)
		tournament, also := l.Ledger.HasTournament(id)
		if err = errors.Join(err, also); err == nil && !run && !tournament {
			return unlock, nil
		}
		unlock()
		if err != nil {
			return nil, err
		}
	}
}

// locked tells whether a process carries the run out.
func (l *Lab) locked(run string) (bool, error) {
	var place unix.Flock_t
	f, err := l.askLock(run, unix.F_OFD_GETLK, &place)
	if err != nil {
		return false, err
	}
	return place.Type != unix.F_UNLCK, f.Close()
}

func (l *Lab) askLock(run string, command int, place *unix.Flock_t) (*os.File, error) {
	path := filepath.Join(l.Home, "runs.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(run))
	*place = unix.Flock_t{Type: unix.F_WRLCK, Start: int64(binary.BigEndian.Uint64(sum[:8]) >> 2), Len: 1}
	if err := unix.FcntlFlock(f.Fd(), command, place); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return f, nil
}

// Runs lists all runs, oldest first. One whose process is gone without a word is
// interrupted, whatever the ledger last heard.
func (l *Lab) Runs() ([]ledger.Info, error) {
	runs, err := l.Ledger.Runs()
	for i := range runs {
		if err == nil {
			err = l.settle(&runs[i])
		}
	}
	return runs, err
}

// Report tells how a run went.
func (l *Lab) Report(run string) (*ledger.Report, error) {
	r, err := l.Ledger.Report(run)
	if err != nil {
		return nil, err
	}
	return r, l.settle(&r.Info)
}

// settle completes what the ledger says of a run by whether a process carries it out.
func (l *Lab) settle(i *ledger.Info) error {
	if i.Status != orchestrator.RunRunning {
		return nil
	}
	locked, err := l.locked(i.Run)
	if err != nil {
		return err
	}
	if !locked {
		i.Status = orchestrator.RunInterrupted
		return nil
	}
	search, err := l.Search(i.Run)
	if left, ok := search.Left(eventOf(*i)); ok {
		seconds := left.Seconds()
		i.Left = &seconds
	}
	return err
}
