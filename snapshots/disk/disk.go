// Package disk is the little of a file system that durable stores need, as an
// interface, so that tests can lose, tear and refuse any step of it; and the
// real one.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FS is a file system. Its methods may be called at once. Errors wrap
// fs.ErrNotExist and fs.ErrExist where they apply.
//
// Nothing is durable by itself: a file's bytes are after File.Sync, and that a
// name is there, gone or points to another file is after SyncDir of its folder;
// both are after Group.Sync of a folder above.
type FS interface {
	// ReadFile returns all bytes of a file.
	ReadFile(name string) ([]byte, error)
	// ReadDir lists the names in a folder, sorted.
	ReadDir(name string) ([]string, error)
	// Stat tells of a file.
	Stat(name string) (Info, error)
	// Mkdir makes one folder, whose parent must exist.
	Mkdir(name string) error
	// CreateTemp makes a new empty file in a folder; its name begins with
	// TempPrefix and is not taken.
	CreateTemp(dir string) (File, error)
	// Rename gives a file another name and replaces what had that name: a reader
	// finds one of the two files, never none.
	Rename(from, to string) error
	// Remove takes a name away.
	Remove(name string) error
	// SyncDir returns when the names in a folder are durable.
	SyncDir(name string) error
	// Group begins a group of files in a folder and below.
	Group(dir string) (Group, error)
	// Lock waits until it holds the lock of a name, alone or with others that
	// share it. It holds between processes and between goroutines, and ends with
	// the process.
	Lock(name string, shared bool) (unlock func() error, err error)
}

// Info is what is known of a file without reading it.
type Info struct {
	Size     int64
	Modified time.Time
}

// File is a new file that is being written by one goroutine.
type File interface {
	io.Writer
	// Name is the path.
	Name() string
	// Sync returns when all bytes written are durable. After an error they may
	// be lost although a second Sync succeeds, so there must be none: see Rebello
	// et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
	Sync() error
	Close() error
}

// Group is all files that are made in a folder and below between its beginning and its
// Close.
type Group interface {
	// Sync returns when all bytes that had been written to the group's files are durable,
	// and all names in the folder and below. It costs less than to sync many files each,
	// but it waits for what everybody else has written to the same disk too. After an error
	// any file of the group may be lost, as after that of File.Sync; of two calls at
	// once one may get the error of both.
	Sync() error
	Close() error
}

// TempPrefix begins the names of files that are not complete.
const TempPrefix = ".tmp-"

// OS is the file system of the machine.
type OS struct{}

// ReadFile implements FS.
func (OS) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

// ReadDir implements FS.
func (OS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// Stat implements FS.
func (OS) Stat(name string) (Info, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{info.Size(), info.ModTime()}, nil
}

// Mkdir implements FS.
func (OS) Mkdir(name string) error { return os.Mkdir(name, 0o755) }

// CreateTemp implements FS.
func (OS) CreateTemp(dir string) (File, error) {
	f, err := os.CreateTemp(dir, TempPrefix+"*")
	if err != nil {
		return nil, err
	}
	// Others may read a vault, as they may read the folders around it.
	if err := f.Chmod(0o644); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir implements FS.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Group implements FS by syncfs(2). It tells of each error that came up since the
// folder was opened (Linux 5.8; before, of none), so it is opened first.
func (OS) Group(dir string) (Group, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return group{d}, nil
}

type group struct{ *os.File }

// Sync implements Group.
func (g group) Sync() error {
	return os.NewSyscallError("syncfs", unix.Syncfs(int(g.Fd())))
}

// Lock implements FS by flock(2), whose locks belong to the open file.
func (OS) Lock(name string, shared bool) (func() error, error) {
	f, err := os.OpenFile(filepath.Clean(name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
	}
	return f.Close, nil
}
