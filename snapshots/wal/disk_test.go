package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

// disk is a folder behind a page cache. What was not synced may be lost at a crash,
// each sector and each name for itself; it may also be on the medium already.
type disk struct {
	mu    sync.Mutex
	names map[string]*names
	steps int // changes so far

	// fault is asked before each change; see the kinds below.
	fault func(step int, verb, name string) error
	slow  func(verb string) // called before each change, without the lock
	off   bool              // the power is off

	unreadable func() error // called before each read
	open       int          // files that nobody has closed
}

// What a fault may be, besides an error that comes with nothing done.
var (
	errPower = errors.New("the power is off")
	errShort = fmt.Errorf("short: %w", syscall.ENOSPC) // half is written
)

const sector = 512

// names is what one name has meant since the last sync of the folder, the oldest
// first: any of these may be on the medium. nil: no file.
type names struct{ files []*inode }

func (n *names) now() *inode {
	if n == nil {
		return nil
	}
	return n.files[len(n.files)-1]
}

// inode is a file: its bytes as a reader sees them, and what each sector may be on
// the medium, the oldest first.
type inode struct {
	data  []byte
	safe  []byte           // the content at the last sync that worked
	dirty map[int][][]byte // sector: later contents, which a sync makes safe
	clean map[int][][]byte // sector: contents that a failed sync has given up
}

func newDisk() *disk { return &disk{names: map[string]*names{}} }

// change is one step. do is called with how much of it may happen.
func (d *disk) change(verb, name string, do func(part error)) error {
	if d.slow != nil {
		d.slow(verb)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return errPower
	}
	step := d.steps
	d.steps++
	var err error
	if d.fault != nil {
		err = d.fault(step, verb, name)
	}
	if err == errPower {
		d.off = true
	}
	do(err)
	return err
}

func (d *disk) put(name string, f *inode) {
	if d.names[name] == nil {
		d.names[name] = &names{files: []*inode{nil}}
	}
	d.names[name].files = append(d.names[name].files, f)
}

func (d *disk) List() (list []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, n := range d.names {
		if n.now() != nil {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}

func (d *disk) Create(name string) (File, error) {
	f := &inode{dirty: map[int][][]byte{}, clean: map[int][][]byte{}}
	exists := false
	err := d.change("create", name, func(part error) {
		if exists = d.names[name].now() != nil; !exists && (part == nil || part == errPower) {
			d.put(name, f)
		}
	})
	if exists {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrExist)
	}
	if err == nil {
		d.opened(1)
	}
	return &handle{d, f, name}, err
}

func (d *disk) opened(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open += n
}

func (d *disk) Open(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names[name].now()
	switch {
	case d.off:
		return nil, errPower
	case f == nil:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	d.open++
	return &handle{d, f, name}, nil
}

func (d *disk) Rename(old, new string) error {
	return d.change("rename", old, func(part error) {
		if part == nil || part == errPower {
			d.put(new, d.names[old].now())
			d.put(old, nil)
		}
	})
}

func (d *disk) Remove(name string) error {
	return d.change("remove", name, func(part error) {
		if part == nil || part == errPower {
			d.put(name, nil)
		}
	})
}

func (d *disk) SyncDir() error {
	return d.change("syncdir", "", func(part error) {
		if part == nil {
			for _, n := range d.names {
				n.files = []*inode{n.now()}
			}
		}
	})
}

type handle struct {
	d    *disk
	f    *inode
	name string
}

func (h *handle) ReadAt(b []byte, at int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.d.off {
		return 0, errPower
	}
	if h.d.unreadable != nil {
		if err := h.d.unreadable(); err != nil {
			return 0, err
		}
	}
	if at >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.f.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(b []byte, at int64) (n int, err error) {
	err = h.d.change("write", h.name, func(part error) {
		switch {
		case part == errShort:
			n = len(b) / 2
		case part == nil || part == errPower:
			n = len(b)
		}
		h.f.write(b[:n], int(at))
	})
	return n, err
}

func (h *handle) Allocate(size int64) error {
	return h.d.change("allocate", h.name, func(part error) {
		if grow := int(size) - len(h.f.data); grow > 0 && (part == nil || part == errPower) {
			h.f.write(make([]byte, grow), len(h.f.data))
		}
	})
}

func (h *handle) Sync() error {
	return h.d.change("sync", h.name, func(part error) {
		switch {
		case part == nil:
			h.f.sync()
		case part != errPower: // as Linux does: told once, then the pages are clean
			for s, contents := range h.f.dirty {
				h.f.clean[s] = append(h.f.clean[s], contents...)
			}
			h.f.dirty = map[int][][]byte{}
		}
	})
}

func (h *handle) Close() error {
	h.d.opened(-1)
	return nil
}

func (f *inode) sector(s int) []byte {
	return slices.Clone(f.data[s*sector : min(len(f.data), (s+1)*sector)])
}

func (f *inode) write(b []byte, at int) {
	if grow := at + len(b) - len(f.data); grow > 0 {
		f.data = append(f.data, make([]byte, grow)...)
	}
	copy(f.data[at:], b)
	if len(b) == 0 {
		return
	}
	for s := at / sector; s <= (at+len(b)-1)/sector; s++ {
		f.dirty[s] = append(f.dirty[s], f.sector(s))
	}
}

// sync makes the dirty sectors safe. What an earlier sync has given up stays as it
// is on the medium unless it was written again.
func (f *inode) sync() {
	for s := range f.dirty {
		f.safe = grow(f.safe, s*sector, f.sector(s))
		delete(f.clean, s)
	}
	f.dirty = map[int][][]byte{}
	f.safe = grow(f.safe, len(f.data), nil)
}

func grow(b []byte, at int, content []byte) []byte {
	if need := at + len(content) - len(b); need > 0 {
		b = append(b, make([]byte, need)...)
	}
	copy(b[at:], content)
	return b
}

// survival decides what of the not yet safe is on the medium after a crash: 0 none,
// n all of it.
type survival func(n int) int

func allLost(int) int   { return 0 }
func allKept(n int) int { return n - 1 }

func atRandom(rng *rand.Rand) survival {
	// Some crashes lose nearly all, some nearly nothing.
	bias := rng.Float64()
	return func(n int) int {
		if rng.Float64() < bias {
			return 0
		}
		return rng.IntN(n)
	}
}

// crash returns the disk as the next boot finds it: all that is there is on the
// medium. The old one stays as it is.
func (d *disk) crash(pick survival) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk()
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		files := d.names[name].files
		if f := files[pick(len(files))]; f != nil {
			after.names[name] = &names{files: []*inode{f.crash(pick)}}
		}
	}
	return after
}

func (f *inode) crash(pick survival) *inode {
	data := slices.Clone(f.safe)
	for _, pending := range []map[int][][]byte{f.clean, f.dirty} {
		for _, s := range slices.Sorted(maps.Keys(pending)) {
			contents := pending[s]
			if i := pick(len(contents) + 1); i > 0 {
				data = grow(data, s*sector, contents[i-1])
			}
		}
	}
	return onMedium(data)
}

func onMedium(data []byte) *inode {
	return &inode{data: data, safe: slices.Clone(data), dirty: map[int][][]byte{}, clean: map[int][][]byte{}}
}

// die returns the disk as it is after the process was killed and the machine runs
// on: a reader sees everything, and nothing more is on the medium.
func (d *disk) die() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk()
	for name, n := range d.names {
		after.names[name] = &names{files: slices.Clone(n.files)}
	}
	return after
}
