package wal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

const (
	metaName = "meta"
	tempName = "meta.tmp"
	metaMax  = 16 << 20
)

// meta is what the folder says about its segments. It is one small file, replaced
// as a whole:
//
//	jird journal 1 crc32c 0123abcd⏎
//	{ JSON }⏎
//
// The checksum is over all bytes after the first line.
type meta struct {
	Salt          uint64 // of every envelope
	Durable       LSN    // these were durable when this was written: fewer is damage
	NextSegmentID uint64
	Segments      []types.SegmentInfo // ascending, without a gap, only the last one not sealed
}

func (m meta) tail() types.SegmentInfo { return m.Segments[len(m.Segments)-1] }

// first is the LSN of the oldest record, or of the next one if there is none.
func (m meta) first() LSN { return LSN(m.Segments[0].MinIndex) }

// floor is the LSN up to which a segment must have its records.
func (m meta) floor(info types.SegmentInfo) LSN {
	if info.SealTime.IsZero() {
		return m.Durable
	}
	return LSN(info.MaxIndex)
}

func (m meta) encode() ([]byte, error) {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	return append([]byte(metaHead(body)), body...), nil
}

func metaHead(body []byte) string {
	return fmt.Sprintf("jird journal 1 crc32c %08x\n", crc32.Checksum(body, castagnoli))
}

func decodeMeta(b []byte) (m meta, err error) {
	at := bytes.IndexByte(b, '\n') + 1
	head, body := string(b[:at]), b[at:]
	if head != metaHead(body) {
		return m, errors.New("it is not what was written: the first line does not fit the rest")
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, err
	}
	return m, m.check()
}

// check holds a meta file against what raft-wal and this package may write.
func (m meta) check() error {
	if len(m.Segments) == 0 || m.Salt == 0 {
		return errors.New("it names no segments or no salt")
	}
	for i, info := range m.Segments {
		last := i == len(m.Segments)-1
		switch {
		case info.BaseIndex == 0 || info.MinIndex < info.BaseIndex || info.SealTime.IsZero() != last,
			!last && (info.MaxIndex < info.MinIndex || info.MaxIndex+1 != m.Segments[i+1].BaseIndex):
			return fmt.Errorf("segment %d of %d does not fit the others", i+1, len(m.Segments))
		}
	}
	return nil
}

// readMeta wraps fs.ErrNotExist when there is none, and returns a *CorruptError
// when it is damaged.
func readMeta(s FS) (meta, error) {
	b, err := readFile(s, metaName, 4<<10, metaMax)
	if err != nil {
		return meta{}, err
	}
	m, err := decodeMeta(b)
	if err != nil {
		return meta{}, &CorruptError{File: metaName, Offset: -1, Reason: err.Error()}
	}
	return m, nil
}

// readFile reads a whole file of probably about hint bytes.
func readFile(s FS, name string, hint, limit int) ([]byte, error) {
	f, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, n := make([]byte, hint+1), 0
	for {
		m, err := f.ReadAt(b[n:], int64(n))
		n += m
		switch {
		case err == io.EOF:
			return b[:n], nil
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", name, err)
		case n > limit:
			return nil, &CorruptError{File: name, Offset: int64(limit), Reason: "it is longer than such a file can be"}
		}
		b = append(b, make([]byte, len(b))...)
	}
}

// writeMeta replaces the meta file durably: a crash leaves the old or the new one.
// Whatever temporary file an earlier crash left has been removed by recovery.
func writeMeta(s FS, m meta) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	f, err := s.Create(tempName)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.Rename(tempName, metaName); err != nil {
		return err
	}
	return s.SyncDir()
}

// parseName takes the first LSN out of the name of a segment.
func parseName(name string) (base uint64, ok bool) {
	var info types.SegmentInfo
	n, err := fmt.Sscanf(name, "%d-%x.wal", &info.BaseIndex, &info.ID)
	return info.BaseIndex, err == nil && n == 2 && segment.FileName(info) == name
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
