// Package crash is a disk.FS in memory for tests. It records every step, can
// refuse any one, and at any step can be asked what a power cut would leave.
//
// What a cut leaves is the worst that POSIX allows. Bytes of a file that were
// not synced survive wholly, in part, with a tail of zeros, or not at all. Each
// name in a folder that was not synced points to any one of the files it has
// pointed to since, independently of all other names. A sync that failed has
// done nothing, and a later one of the same file succeeds and does nothing
// either. A group's sync does nothing for the bytes of files that were made before the
// group began, nor for anything outside of its folder.
package crash

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"jird/snapshots/disk"
)

// Step is one call that the disk was asked for.
type Step struct {
	Kind string // read, readdir, stat, mkdir, create, write, sync, close, rename, remove, syncdir, group, syncfs, lock
	Path string // for rename, the new name
}

func (s Step) String() string { return s.Kind + " " + s.Path }

// Disk is a disk.FS with the one folder "/". The zero Disk is not usable: see New.
type Disk struct {
	mu    sync.Mutex
	root  *node
	temps int
	steps []Step
	moved sync.Cond
	locks map[string]int // shared holders, or -1

	// Refuse, if not nil, is asked before each step, whose number counts from 0;
	// its error is the step's. A refused write writes half. Set before use.
	Refuse func(n int, s Step) error
	// Pretend, if not nil, is asked before each step: true means that the step
	// says success and does nothing. Set before use.
	Pretend func(s Step) bool
	// After, if not nil, is called after each step, with its number and a Cut that
	// it may call. It must call nothing else of the disk. Set before use.
	After func(n int, cut func() Cut)
}

// node is a file or a folder.
type node struct {
	data, synced []byte
	lost         bool             // a sync failed
	made         int              // the number of the file
	names        map[string]*node // of a folder; nil for a file
	durable      map[string]*node
	changes      []change // since the last sync of the folder
}

type change struct {
	name string
	to   *node // nil: removed
}

func folder() *node { return &node{names: map[string]*node{}, durable: map[string]*node{}} }

// New makes an empty disk.
func New() *Disk {
	d := &Disk{root: folder(), locks: map[string]int{}}
	d.moved.L = &d.mu
	return d
}

// Steps returns what was asked so far.
func (d *Disk) Steps() []Step {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.steps)
}

// Damage changes the stored bytes of a file, as failing hardware does.
func (d *Disk) Damage(name string, harm func([]byte) []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.at(name)
	if err != nil {
		panic(err)
	}
	n.data = harm(bytes.Clone(n.data))
	n.synced = n.data
}

// step begins a step: done says that there is nothing left to do.
func (d *Disk) step(kind, path string) (end func(), done bool, err error) {
	d.mu.Lock()
	n, s := len(d.steps), Step{kind, path}
	d.steps = append(d.steps, s)
	end = func() {
		if d.After != nil {
			d.After(n, d.cut)
		}
		d.mu.Unlock()
	}
	if d.Refuse != nil {
		if err := d.Refuse(n, s); err != nil {
			return end, true, &fs.PathError{Op: kind, Path: path, Err: err}
		}
	}
	return end, d.Pretend != nil && d.Pretend(s), nil
}

func (d *Disk) at(path string) (*node, error) {
	n := d.root
	for part := range strings.SplitSeq(strings.Trim(filepath.Clean(path), "/"), "/") {
		if part == "" {
			continue
		}
		if n = n.names[part]; n == nil {
			return nil, &fs.PathError{Op: "find", Path: path, Err: syscall.ENOENT}
		}
	}
	return n, nil
}

// set points a name at a node, or at nothing.
func (d *Disk) set(path string, to *node) error {
	parent, err := d.at(filepath.Dir(path))
	if err != nil {
		return err
	}
	name := filepath.Base(path)
	parent.changes = append(parent.changes, change{name, to})
	if to == nil {
		delete(parent.names, name)
	} else {
		parent.names[name] = to
	}
	return nil
}

// ReadFile implements disk.FS.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	end, done, err := d.step("read", name)
	defer end()
	if done {
		return nil, err
	}
	n, err := d.at(name)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(n.data), nil
}

// ReadDir implements disk.FS.
func (d *Disk) ReadDir(name string) ([]string, error) {
	end, done, err := d.step("readdir", name)
	defer end()
	if done {
		return nil, err
	}
	n, err := d.at(name)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range n.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Stat implements disk.FS. All files are as old as time.
func (d *Disk) Stat(name string) (disk.Info, error) {
	end, done, err := d.step("stat", name)
	defer end()
	if done {
		return disk.Info{}, err
	}
	n, err := d.at(name)
	if err != nil {
		return disk.Info{}, err
	}
	return disk.Info{Size: int64(len(n.data))}, nil
}

// Mkdir implements disk.FS.
func (d *Disk) Mkdir(name string) error {
	end, done, err := d.step("mkdir", name)
	defer end()
	if done {
		return err
	}
	if _, err := d.at(name); err == nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.EEXIST}
	}
	return d.set(name, folder())
}

// CreateTemp implements disk.FS.
func (d *Disk) CreateTemp(dir string) (disk.File, error) {
	end, _, err := d.step("create", dir)
	defer end()
	if err != nil {
		return nil, err
	}
	d.temps++
	f := &file{d, &node{made: d.temps}, filepath.Join(dir, fmt.Sprint(disk.TempPrefix, d.temps))}
	return f, d.set(f.name, f.node)
}

// Rename implements disk.FS.
func (d *Disk) Rename(from, to string) error {
	end, done, err := d.step("rename", to)
	defer end()
	if done {
		return err
	}
	n, err := d.at(from)
	if err != nil {
		return err
	}
	if err := d.set(to, n); err != nil {
		return err
	}
	return d.set(from, nil)
}

// Remove implements disk.FS.
func (d *Disk) Remove(name string) error {
	end, done, err := d.step("remove", name)
	defer end()
	if done {
		return err
	}
	if _, err := d.at(name); err != nil {
		return err
	}
	return d.set(name, nil)
}

// SyncDir implements disk.FS.
func (d *Disk) SyncDir(name string) error {
	end, done, err := d.step("syncdir", name)
	defer end()
	if done {
		return err
	}
	n, err := d.at(name)
	if err != nil {
		return err
	}
	n.syncNames()
	return nil
}

func (n *node) syncNames() {
	n.durable = map[string]*node{}
	for name, to := range n.names {
		n.durable[name] = to
	}
	n.changes = nil
}

// sync makes the bytes of a file durable, or loses them.
func (n *node) sync(failed bool) {
	if failed {
		n.lost = true
	} else if !n.lost {
		n.synced = bytes.Clone(n.data)
	}
}

// Group implements disk.FS.
func (d *Disk) Group(dir string) (disk.Group, error) {
	end, _, err := d.step("group", dir)
	defer end()
	if err != nil {
		return nil, err
	}
	return &group{d, dir, d.temps}, nil
}

type group struct {
	disk  *Disk
	dir   string
	after int // the last file that is not of the group
}

// Sync implements disk.Group.
func (g *group) Sync() error {
	end, done, err := g.disk.step("syncfs", g.dir)
	defer end()
	if done && err == nil {
		return nil
	}
	n, missing := g.disk.at(g.dir)
	if missing != nil {
		return missing
	}
	g.sync(n, err != nil)
	return err
}

func (g *group) sync(n *node, failed bool) {
	if n.names == nil {
		if n.made > g.after && !bytes.Equal(n.synced, n.data) {
			n.sync(failed)
		}
		return
	}
	for _, below := range n.names {
		g.sync(below, failed)
	}
	if !failed {
		n.syncNames()
	}
}

// Close implements disk.Group.
func (g *group) Close() error { return nil }

// Lock implements disk.FS.
func (d *Disk) Lock(name string, shared bool) (func() error, error) {
	end, _, err := d.step("lock", name)
	defer end()
	if err != nil {
		return nil, err
	}
	for d.locks[name] < 0 || !shared && d.locks[name] > 0 {
		d.moved.Wait()
	}
	by := -1
	if shared {
		by = 1
	}
	d.locks[name] += by
	return func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.locks[name] -= by
		d.moved.Broadcast()
		return nil
	}, nil
}

type file struct {
	disk *Disk
	node *node
	name string
}

// Name implements disk.File.
func (f *file) Name() string { return f.name }

// Write implements disk.File.
func (f *file) Write(b []byte) (int, error) {
	end, done, err := f.disk.step("write", f.name)
	defer end()
	if err != nil {
		b = b[:len(b)/2]
	}
	if !done || err != nil {
		f.node.data = append(f.node.data, b...)
	}
	return len(b), err
}

// Sync implements disk.File.
func (f *file) Sync() error {
	end, done, err := f.disk.step("sync", f.name)
	defer end()
	if err != nil || !done {
		f.node.sync(err != nil)
	}
	return err
}

// Close implements disk.File.
func (f *file) Close() error {
	end, _, err := f.disk.step("close", f.name)
	defer end()
	return err
}

// Cut is a picture of a disk at one step, from which power cuts are drawn.
type Cut struct{ root *node }

// Cut takes the picture as of now.
func (d *Disk) Cut() Cut {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cut()
}

func (d *Disk) cut() Cut { return Cut{d.root.clone(map[*node]*node{})} }

func (n *node) clone(seen map[*node]*node) *node {
	if n == nil {
		return nil
	}
	if c := seen[n]; c != nil {
		return c
	}
	c := &node{data: slices.Clip(n.data), synced: n.synced, lost: n.lost, made: n.made}
	seen[n] = c
	if n.names == nil {
		return c
	}
	c.names, c.durable = map[string]*node{}, map[string]*node{}
	for name, to := range n.names {
		c.names[name] = to.clone(seen)
	}
	for name, to := range n.durable {
		c.durable[name] = to.clone(seen)
	}
	for _, ch := range n.changes {
		c.changes = append(c.changes, change{ch.name, ch.to.clone(seen)})
	}
	return c
}

// Restart draws a disk that a power cut may leave; the cut can be used again.
func (c Cut) Restart(r *rand.Rand) *Disk {
	d := New()
	d.root = c.root.survive(r)
	return d
}

func (n *node) survive(r *rand.Rand) *node {
	if n.names == nil {
		data := surviving(n.synced, n.data, r)
		return &node{data: data, synced: data}
	}
	now := map[string]*node{}
	for name, to := range n.durable {
		now[name] = to
	}
	// Each name goes through the first few of its changes.
	stopped := map[string]bool{}
	for _, ch := range n.changes {
		if stopped[ch.name] = stopped[ch.name] || r.IntN(2) == 0; stopped[ch.name] {
			continue
		}
		now[ch.name] = ch.to
	}
	f := folder()
	for _, name := range sorted(now) {
		if to := now[name]; to != nil {
			f.names[name] = to.survive(r)
			f.durable[name] = f.names[name]
		}
	}
	return f
}

func sorted(m map[string]*node) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// surviving draws what is left of bytes of which some were synced.
func surviving(synced, data []byte, r *rand.Rand) []byte {
	if bytes.Equal(synced, data) {
		return bytes.Clone(data)
	}
	switch r.IntN(4) {
	case 0:
		return bytes.Clone(synced)
	case 1:
		return bytes.Clone(data)
	case 2:
		return bytes.Clone(data[:r.IntN(len(data)+1)])
	}
	torn := bytes.Clone(data)
	clear(torn[r.IntN(len(torn)+1):])
	return torn
}
