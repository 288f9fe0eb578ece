package wal

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// store keeps the meta file for raft-wal (types.MetaStore), and puts the folder in
// order before raft-wal looks at it, because raft-wal would
//
//   - delete every segment when the meta file is lost,
//   - put an empty file in the place of a lost last segment,
//   - drop the records behind a damaged one as if they were torn,
//   - take an unfinished index for a sealed segment, and refuse to append for ever,
//     as it does after a crash or a Close before the rotation was done,
//   - trust a last group that may be in the page cache only.
type store struct {
	fs      *strict
	options Options
	torn    int64

	mu   sync.Mutex
	meta meta     // as the file has it
	tail *scanned // see recovered
}

// scanned is a segment in memory, as it is on the disk.
type scanned struct {
	name  string
	data  []byte
	found found
}

// now returns what the meta file says.
func (s *store) now() meta {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta
}

// recovered is the last segment as recovery has read it and put it in order; nil once
// it has been replayed or something was appended.
func (s *store) recovered() *scanned {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tail
}

// forget takes what recovery has read, which is large.
func (s *store) forget() *scanned {
	s.mu.Lock()
	defer s.mu.Unlock()
	tail := s.tail
	s.tail = nil
	return tail
}

// commit makes m what the meta file says. One caller at once.
func (s *store) commit(m meta) error {
	if err := writeMeta(s.fs, m); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta = m
	return nil
}

// Load implements types.MetaStore. It changes nothing before it knows that no
// record is lost.
func (s *store) Load(string) (types.PersistentState, error) {
	names, err := s.fs.List()
	if err != nil {
		return types.PersistentState{}, err
	}
	m, err := readMeta(s.fs)
	if missing(err) {
		m, err = s.begin(names)
	} else if err == nil {
		m, err = s.recover(m, names)
	}
	if err != nil {
		return types.PersistentState{}, err
	}
	// Written again even if nothing is new: the crash may have come between the
	// rename and the sync of the folder.
	if err := s.commit(m); err != nil {
		return types.PersistentState{}, err
	}
	return types.PersistentState{NextSegmentID: m.NextSegmentID, Segments: slices.Clone(m.Segments)}, nil
}

// begin makes a new journal, if the folder has never had one.
func (s *store) begin(names []string) (meta, error) {
	if err := neverWritten(s.fs, names); err != nil {
		return meta{}, err
	}
	if !s.options.Create {
		return meta{}, fmt.Errorf("there is no journal here: %w", fs.ErrNotExist)
	}
	if err := s.remove(slices.DeleteFunc(slices.Clone(names), notOurs)); err != nil {
		return meta{}, err
	}
	first := max(s.options.First, 1)
	m := meta{Salt: newSalt(), Durable: first - 1, NextSegmentID: 1}
	err := s.addTail(&m, uint64(first))
	return m, err
}

// neverWritten refuses segments that have bytes in them and no meta file.
func neverWritten(f FS, names []string) error {
	for _, name := range names {
		if used, err := segmentUsed(f, name); used || err != nil {
			return errors.Join(err, &CorruptError{File: metaName, Offset: -1, Reason: "the file is missing, but " + name + " has bytes in it"})
		}
	}
	return nil
}

// newSalt is not a part of any decision, only hard to guess for an agent.
func newSalt() uint64 {
	var b [saltSize]byte
	rand.Read(b[:]) // never fails
	return max(binary.LittleEndian.Uint64(b[:]), 1)
}

func notOurs(name string) bool {
	_, ok := parseName(name)
	return !ok && name != tempName
}

func segmentUsed(f FS, name string) (bool, error) {
	if _, ok := parseName(name); !ok {
		return false, nil
	}
	data, err := readFile(f, name, 64<<10, maxSegment)
	return len(bytes.Trim(data, "\x00")) > 0, err
}

// remove takes leftovers away, durably: their names may come again.
func (s *store) remove(names []string) error {
	for _, name := range names {
		if err := s.fs.Remove(name); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	return s.fs.SyncDir()
}

// addTail adds a segment to m whose file is durable before any meta file names it,
// so that a name without a file always means loss.
func (s *store) addTail(m *meta, base uint64) error {
	info := types.SegmentInfo{
		ID: m.NextSegmentID, BaseIndex: base, MinIndex: base, Codec: codec,
		SizeLimit: uint32(s.options.segmentSize()), CreateTime: time.Now(),
	}
	m.NextSegmentID++
	m.Segments = append(slices.Clone(m.Segments), info)
	return s.createFile(info)
}

func (s *store) createFile(info types.SegmentInfo) error {
	f, err := s.fs.Create(segment.FileName(info))
	if err != nil {
		return err
	}
	err = f.Allocate(int64(info.SizeLimit))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return s.fs.SyncDir()
}

// recover brings a folder with a meta file into the state that raft-wal expects.
func (s *store) recover(m meta, names []string) (meta, error) {
	old, err := leftovers(s.fs, m, names)
	if err != nil {
		return m, err
	}
	if err := checkSealed(s.fs, m); err != nil {
		return m, err
	}
	tail := m.tail()
	data, f, err := scanFile(s.fs, m, tail, all)
	if err != nil {
		return m, err
	}
	if n := len(f.faults); n > 0 && (!f.faults[n-1].Harmless || f.faults[n-1].Offset >= int64(f.last)) {
		return m, fmt.Errorf("raft-wal would drop records: %w", f.faults[n-1])
	}
	if err := s.remove(old); err != nil {
		return m, err
	}
	last := f.next(m.tail()) - 1
	if err := s.settle(data, f, m.tail(), last <= m.Durable); err != nil {
		return m, err
	}
	m.Durable = last
	s.tail = &scanned{segment.FileName(tail), data, f}
	if f.index > 0 {
		err = s.finishRotation(&m, f)
	}
	return m, err
}

// leftovers names the files that may go: those of an unfinished replacement,
// rotation or truncation. It refuses when a segment is missing, or when a file that
// the meta file does not know holds newer records.
func leftovers(f FS, m meta, names []string) (old []string, err error) {
	known := map[string]bool{}
	for _, info := range m.Segments {
		name := segment.FileName(info)
		known[name] = true
		if !slices.Contains(names, name) {
			return nil, missingSegment(m, info)
		}
	}
	for _, name := range names {
		if notOurs(name) || known[name] {
			continue
		}
		if base, ok := parseName(name); ok && base >= m.Segments[0].BaseIndex {
			if used, err := segmentUsed(f, name); used || err != nil {
				return nil, errors.Join(err, &CorruptError{File: metaName, Offset: -1, Reason: "the file is an old one: it does not name " + name + ", which has bytes in it"})
			}
		}
		old = append(old, name)
	}
	return old, nil
}

// checkSealed looks at the headers only, as raft-wal will. The rest is verified when
// it is read.
func checkSealed(s FS, m meta) error {
	for _, info := range m.Segments[:len(m.Segments)-1] {
		name := segment.FileName(info)
		f, err := s.Open(name)
		if err != nil {
			return err
		}
		head := make([]byte, headerSize)
		n, err := f.ReadAt(head, 0)
		if err = errors.Join(err, f.Close()); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if why := checkHeader(head[:n], info); why != "" {
			return &CorruptError{File: name, LSN: LSN(info.BaseIndex), Through: LSN(info.MaxIndex), Reason: why}
		}
	}
	return nil
}

func missingSegment(m meta, info types.SegmentInfo) *CorruptError {
	return &CorruptError{
		File: segment.FileName(info), Offset: -1, Reason: "the segment is missing",
		LSN: LSN(info.MinIndex), Through: max(LSN(info.MinIndex), m.floor(info)),
	}
}

// readSegment reads the file of a segment.
func readSegment(s FS, m meta, info types.SegmentInfo) ([]byte, error) {
	data, err := readFile(s, segment.FileName(info), int(info.SizeLimit), maxSegment)
	if missing(err) {
		return nil, missingSegment(m, info)
	}
	return data, err
}

// scanFile scans one segment.
func scanFile(s FS, m meta, info types.SegmentInfo, step func(*found) bool) ([]byte, found, error) {
	data, err := readSegment(s, m, info)
	if err != nil {
		return nil, found{}, err
	}
	return data, scan(data, segment.FileName(info), info, m.Salt, m.floor(info), step), nil
}

// all is a step that ends no scan.
func all(*found) bool { return true }

// settle makes durable what the scan has found. The last group may be in the page
// cache only, even as clean pages after a failed fsync, so it is written again. What
// is behind it is zeroed: a later scan must not meet frames of an abandoned group.
func (s *store) settle(data []byte, f found, info types.SegmentInfo, durable bool) error {
	s.torn = int64(max(0, f.used-f.end))
	if durable && s.torn == 0 {
		return nil
	}
	clear(data[f.end:max(f.end, f.used)])
	file, err := s.fs.Open(segment.FileName(info))
	if err != nil {
		return err
	}
	_, err = file.WriteAt(data[f.last:max(f.end, f.used)], int64(f.last))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// finishRotation does what raft-wal had no time to do after it sealed a segment.
func (s *store) finishRotation(m *meta, f found) error {
	m.Segments = slices.Clone(m.Segments)
	tail := &m.Segments[len(m.Segments)-1]
	tail.SealTime, tail.MaxIndex, tail.IndexStart = time.Now(), uint64(m.Durable), uint64(f.index)
	return s.addTail(m, tail.MaxIndex+1)
}

// CommitState implements types.MetaStore: durable on return.
func (s *store) CommitState(p types.PersistentState) error {
	m := s.now()
	knew := m.tail().ID
	m.NextSegmentID, m.Segments = p.NextSegmentID, p.Segments
	tail := m.tail()
	if tail.ID != knew {
		if err := s.createFile(tail); err != nil {
			return err
		}
	}
	return s.commit(m)
}

// closeClean records the end, so that nothing behind it can go missing unseen.
func (s *store) closeClean(durable LSN) error {
	m := s.now()
	m.Durable = durable
	return s.commit(m)
}

// GetStable and SetStable are for raft's votes; a journal has none.
func (s *store) GetStable([]byte) ([]byte, error) { return nil, errors.ErrUnsupported }
func (s *store) SetStable([]byte, []byte) error   { return errors.ErrUnsupported }

// Close implements types.MetaStore. The files are closed by the Log.
func (s *store) Close() error { return nil }

// vfs shows the folder to raft-wal (types.VFS). The store has made every file
// before raft-wal asks for it.
type vfs struct {
	fs    *strict
	store *store
}

func (v vfs) ListDir(string) ([]string, error) { return v.fs.List() }
func (v vfs) Create(_, name string, _ uint64) (types.WritableFile, error) {
	return v.fs.Open(name)
}
func (v vfs) OpenReader(_, name string) (types.ReadableFile, error) { return v.fs.Open(name) }

// OpenWriter is asked for the last segment.
func (v vfs) OpenWriter(_, name string) (types.WritableFile, error) {
	f, err := v.fs.Open(name)
	if tail := v.store.recovered(); err == nil && tail != nil && tail.name == name {
		return remembering{f, v.store}, nil
	}
	return f, err
}

// Delete need not be durable: recovery removes what comes back.
func (v vfs) Delete(_, name string) error { return v.fs.Remove(name) }

// remembering is the last segment for raft-wal, which reads the head of every frame
// when it opens, and nothing later: it gets what recovery has just read.
type remembering struct {
	File
	store *store
}

func (r remembering) ReadAt(b []byte, at int64) (int, error) {
	if tail := r.store.recovered(); tail != nil {
		return bytes.NewReader(tail.data).ReadAt(b, at)
	}
	return r.File.ReadAt(b, at)
}
