package wal

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// strict makes the first failure to change anything the last: every later change
// is refused with it and never reaches the disk, whoever asks. raft-wal would let
// its caller try a failed fsync again, and logs a failed rotation. It knows which
// files are open, because raft-wal forgets some when it fails.
type strict struct {
	FS
	mu   sync.Mutex
	err  error
	open map[*strictFile]struct{}
}

type strictFile struct {
	File
	fs   *strict
	name string
}

func newStrict(fs FS) *strict { return &strict{FS: fs, open: map[*strictFile]struct{}{}} }

// broken returns the first failure.
func (s *strict) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// change does one change. The lock is not held meanwhile: reading goes on beside
// a slow fsync.
func (s *strict) change(verb, name string, do func() error) error {
	if err := s.broken(); err != nil {
		return err
	}
	err := do()
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = fmt.Errorf("%s %s: %w", verb, name, err)
	}
	return s.err
}

func (s *strict) track(f File, name string) File {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &strictFile{f, s, name}
	s.open[t] = struct{}{}
	return t
}

func (s *strict) Create(name string) (file File, err error) {
	err = s.change("creating", name, func() error {
		f, err := s.FS.Create(name)
		if err == nil {
			file = s.track(f, name)
		}
		return err
	})
	return file, err
}

func (s *strict) Open(name string) (File, error) {
	f, err := s.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return s.track(f, name), nil
}

func (s *strict) Rename(old, new string) error {
	return s.change("renaming", old, func() error { return s.FS.Rename(old, new) })
}

func (s *strict) Remove(name string) error {
	return s.change("removing", name, func() error { return s.FS.Remove(name) })
}

func (s *strict) SyncDir() error {
	return s.change("syncing", "the folder", s.FS.SyncDir)
}

// closeAll closes the files that are still open.
func (s *strict) closeAll() {
	s.mu.Lock()
	files := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, f := range files {
		f.Close()
	}
}

func (f *strictFile) WriteAt(b []byte, at int64) (n int, err error) {
	err = f.fs.change("writing", f.name, func() error {
		n, err = f.File.WriteAt(b, at)
		return err
	})
	return n, err
}

func (f *strictFile) Allocate(size int64) error {
	return f.fs.change("allocating", f.name, func() error { return f.File.Allocate(size) })
}

func (f *strictFile) Sync() error {
	return f.fs.change("syncing", f.name, f.File.Sync)
}

func (f *strictFile) Close() error {
	f.fs.mu.Lock()
	_, mine := f.fs.open[f]
	delete(f.fs.open, f)
	f.fs.mu.Unlock()
	if !mine {
		return nil
	}
	return f.File.Close()
}
