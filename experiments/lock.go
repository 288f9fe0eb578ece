package experiments

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Holder is who holds a data folder's lock.
type Holder struct {
	PID    int    `json:"pid"`
	Agent  string `json:"agent"`
	Socket string `json:"socket"` // empty: it does not listen
}

// HeldError says that another process decides on the refs of this data folder.
type HeldError struct {
	Home string
	Holder
}

func (e *HeldError) Error() string {
	if e.Socket == "" {
		return fmt.Sprintf("%s is in use by process %d; wait until it has ended", e.Home, e.PID)
	}
	return fmt.Sprintf("%s is held by the guard of %s, process %d, at %s; ask that one, or end it first", e.Home, e.Agent, e.PID, e.Socket)
}

// lock takes the data folder's lock: only its holder changes refs or a journal. It
// ends with the process (flock(2)). The error is a *HeldError if somebody else has
// it.
func (l *Lab) lock(h Holder) (release func(), err error) {
	path := filepath.Join(l.Home, "guard.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		held := &HeldError{Home: l.Home}
		if data, err := os.ReadFile(path); err == nil {
			_ = json.Unmarshal(data, &held.Holder) // it may be writing just now
		}
		return nil, held
	}
	h.PID = os.Getpid()
	data, err := json.Marshal(h)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
