package experiments

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Holder is who holds the lock of an agent's data folder.
type Holder struct {
	PID    int    `json:"pid"`
	Agent  string `json:"agent"`
	Socket string `json:"socket"` // empty: it does not listen
}

// HeldError says that another process decides on this agent's refs.
type HeldError struct {
	Dir string
	Holder
}

func (e *HeldError) Error() string {
	if e.Socket == "" {
		return fmt.Sprintf("%s is in use by process %d; wait until it has ended", e.Dir, e.PID)
	}
	return fmt.Sprintf("%s is held by the guard of %s, process %d, at %s; ask that one, or end it first", e.Dir, e.Agent, e.PID, e.Socket)
}

// agentDir is an agent's data folder: lock, socket and journal.
func (l *Lab) agentDir(name string) string { return filepath.Join(l.Home, "agents", name) }

// holder is who holds an agent's lock, or held it last; empty where nobody did, or
// is only just writing its name.
func (l *Lab) holder(name string) (h Holder) {
	data, err := os.ReadFile(filepath.Join(l.agentDir(name), "guard.lock"))
	if err != nil || json.Unmarshal(data, &h) != nil {
		return Holder{}
	}
	return h
}

// lock takes an agent's lock: only its holder changes the agent's refs or journal.
// It ends with the process (flock(2)). The error is a *HeldError if somebody else
// has it.
func (l *Lab) lock(name, socket string) (release func(), err error) {
	dir := l.agentDir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "guard.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		return nil, &HeldError{dir, l.holder(name)}
	}
	data, err := json.Marshal(Holder{os.Getpid(), name, socket})
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
