package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// FS is one folder of files, with every step that matters for durability as a
// call of its own, so that a test can fail it or cut the power there. Calls may
// come from several goroutines.
type FS interface {
	// List returns the names of the files.
	List() ([]string, error)
	// Create makes a new empty file; one of that name must not exist. The name
	// is durable after SyncDir.
	Create(name string) (File, error)
	// Open opens a file for reading, and for writing if the folder allows it. The
	// error for a missing file wraps fs.ErrNotExist.
	Open(name string) (File, error)
	// Rename gives a file a new name and replaces what had it, at once for every
	// reader; durable after SyncDir.
	Rename(old, new string) error
	// Remove takes the name away; durable after SyncDir. A file that is open can
	// be read on.
	Remove(name string) error
	// SyncDir makes the names durable: all that were created, renamed or removed
	// before.
	SyncDir() error
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Allocate makes the file at least size bytes long, zeros behind its end, and
	// reserves the room where the system can.
	Allocate(size int64) error
	// Sync returns when the content and size are durable. After an error nothing
	// is known of what was written since the last Sync, and trying again proves
	// nothing: Linux reports a lost page once and then takes it for clean (fsync(2);
	// Rebello et al., Can Applications Recover from fsync Failures?, ATC 2020).
	Sync() error
}

// osFS is a folder of the operating system.
type osFS struct {
	dir      string
	readOnly bool
}

type osFile struct{ *os.File }

func (s osFS) path(name string) string { return filepath.Join(s.dir, name) }

func (s osFS) List() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (s osFS) open(name string, flags int) (File, error) {
	f, err := os.OpenFile(s.path(name), flags, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (s osFS) Create(name string) (File, error) {
	return s.open(name, os.O_CREATE|os.O_EXCL|os.O_RDWR)
}

func (s osFS) Open(name string) (File, error) {
	if s.readOnly {
		return s.open(name, os.O_RDONLY)
	}
	return s.open(name, os.O_RDWR)
}

func (s osFS) Rename(old, new string) error { return os.Rename(s.path(old), s.path(new)) }
func (s osFS) Remove(name string) error     { return os.Remove(s.path(name)) }
func (s osFS) SyncDir() error               { return syncDir(s.dir) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Allocate reserves blocks where the file system can, so that a full disk is
// met when a segment begins and not in the middle of a group.
func (f osFile) Allocate(size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}

// Sync leaves out the times of the file: they cost a journal commit on ext4 and
// nobody reads them. fdatasync(2) flushes what is needed to read the data back,
// the size too.
func (f osFile) Sync() error {
	for {
		// A signal that comes before anything was flushed is no failure.
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// ErrInUse is wrapped when another process, or another handle of this one, has
// the journal open.
var ErrInUse = errors.New("the journal is in use")

const lockName = "LOCK"

// acquire makes this handle the only one. flock(2) belongs to the open file: it
// holds between goroutines too and ends with the process, however it ends.
func acquire(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// share keeps writers out while a reader looks. It changes nothing: a journal
// without a lock file was never open.
func share(dir string) (release func(), err error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_SH); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

func flock(f *os.File, how int) error {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return err
	}
	text := make([]byte, 20)
	n, _ := f.ReadAt(text, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return fmt.Errorf("%w: %s is locked; stop the process that has it", ErrInUse, f.Name())
	}
	return fmt.Errorf("%w: process %d has locked %s; stop it first", ErrInUse, pid, f.Name())
}
