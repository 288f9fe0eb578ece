package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft-wal/types"
)

// CorruptError says that the journal is not what was written.
type CorruptError struct {
	File    string
	Offset  int64 // of the damage in the file; -1 if unknown
	LSN     LSN   // the first record that is lost; 0 if unknown
	Through LSN   // the last record known to be lost
	// Harmless damage has cost no record: all of the file was read in spite of it.
	Harmless bool
	Reason   string
}

func (e *CorruptError) Error() string {
	where := e.File
	if e.Offset >= 0 {
		where = fmt.Sprintf("%s at byte %d", e.File, e.Offset)
	}
	switch {
	case e.Harmless:
		return fmt.Sprintf("%s: %s; no record is lost", where, e.Reason)
	case e.LSN == 0:
		return fmt.Sprintf("%s: %s; keep a copy of the folder and step back to a checkpoint", where, e.Reason)
	}
	return fmt.Sprintf("%s: %s; records %d to %d or more are lost: keep a copy of the folder and step back to a checkpoint",
		where, e.Reason, e.LSN, e.Through)
}

// Segments as raft-wal v0.4.2 writes them: a header of 32 bytes, then groups. A
// group is the frames of one append, an index frame if it seals the segment, and a
// commit frame with the CRC-32C of all bytes since the commit before (or since
// byte 0). Frames begin at multiples of 8; the rest of the file is zeros.
//
//	0      1          4        8
//	+------+----------+--------+----------
//	| type | reserved | length | payload …      1 record, 2 index
//	+------+----------+--------+----------
//	| 3    | reserved | CRC    |
//	+------+----------+--------+
//
// The payload of a record is raft-wal's BinaryCodec: varints of index, term and
// type, then data and extensions after the varint of their length, then 15 bytes of
// time. Its data is the envelope.
const (
	headerSize  = 32
	frameSize   = 8
	frameRecord = 1
	frameIndex  = 2
	frameCommit = 3

	magic          = 0x58eb6b0d
	codec          = 1
	maxSegmentSize = 16 << 20
	// A segment is sealed by the group that fills it, and a group ends with the record
	// that takes it to the size of a segment: 16 + 16 + 16 MiB, and the index.
	maxSegment = 64 << 20
)

// found is what a scan finds in a segment.
type found struct {
	records []Record
	last    int // where the last group begins
	end     int // behind the last group, where the next one goes
	used    int // behind the last byte that is not zero
	index   int // where the index of a sealed segment begins; 0: it is not sealed
	faults  []*CorruptError
}

// next is the LSN that follows the records found.
func (f *found) next(info types.SegmentInfo) LSN { return LSN(info.BaseIndex) + LSN(len(f.records)) }

// fault adds one that cost the records from the next one to through; none if that
// is less.
func (f *found) fault(name string, at int, next, through LSN, why string) {
	e := &CorruptError{File: name, Offset: int64(at), Harmless: through < next, Reason: why}
	if !e.Harmless {
		e.LSN, e.Through = next, through
	}
	f.faults = append(f.faults, e)
}

// scan reads a segment. All records up to floor must be there. Behind floor an
// incomplete group at the end is what a crash leaves, unless a record behind it
// claims that it was durable. step is called after each group with what is found so
// far; the scan ends early if it returns false.
func scan(data []byte, name string, info types.SegmentInfo, salt uint64, floor LSN, step func(*found) bool) found {
	f := found{used: usedBytes(data)}
	if why := checkHeader(data, info); why == "" {
		for f.group(data, name, info, salt, floor) {
			if !step(&f) {
				return f
			}
		}
	} else if proven := max(floor, claimed(data, salt)); proven >= f.next(info) {
		f.fault(name, 0, f.next(info), proven, why)
	}
	if len(data) < int(info.SizeLimit) && (len(f.faults) == 0 || f.faults[len(f.faults)-1].Harmless) {
		through := f.next(info)
		if !info.SealTime.IsZero() {
			through-- // it is known to end here
		}
		f.fault(name, len(data), f.next(info), through, fmt.Sprintf("the file is cut: it had %d bytes", info.SizeLimit))
	}
	return f
}

// usedBytes is how many bytes there are up to the last that is not zero.
func usedBytes(data []byte) int {
	var zeros [4096]byte // compared at once: most of a segment may be zeros
	for len(data) > len(zeros) && bytes.Equal(data[len(data)-len(zeros):], zeros[:]) {
		data = data[:len(data)-len(zeros)]
	}
	return len(bytes.TrimRight(data, "\x00"))
}

// group takes the next group and says whether to go on.
func (f *found) group(data []byte, name string, info types.SegmentInfo, salt uint64, floor LSN) bool {
	next := f.next(info)
	g := readGroup(data, f.end, next, salt)
	after := next + LSN(len(g.records))
	if g.why == "" && g.sum {
		f.take(g)
		return true
	}
	proven := max(floor, claimed(data[f.end:], salt))
	switch {
	case proven < next: // torn, or simply the end
		return false
	case g.why == "" && proven >= after-1: // its records prove themselves
		f.fault(name, g.end-frameSize, after, 0, "the checksum of a group does not match")
		f.take(g)
		return true
	case g.why == "":
		g.why = "the checksum of a group does not match"
	}
	f.records = append(f.records, g.records[:min(LSN(len(g.records)), proven+1-next)]...)
	f.fault(name, g.at, f.next(info), proven, g.why)
	return false
}

func (f *found) take(g group) {
	f.records = append(f.records, g.records...)
	f.last, f.end, f.index = f.end, g.end, g.index
}

// group is the frames of one append as far as they make sense.
type group struct {
	records []Record
	end     int
	index   int
	at      int    // where it stops making sense
	why     string // why; "" when the group is complete
	sum     bool   // the commit frame has the right checksum
}

// readGroup reads the group whose checksum begins at start.
func readGroup(data []byte, start int, next LSN, salt uint64) (g group) {
	for g.at = max(start, headerSize); ; {
		if g.at+frameSize > len(data) {
			g.why = "the file ends where a frame must begin"
			return g
		}
		number := binary.LittleEndian.Uint32(data[g.at+4:])
		rest := data[g.at+frameSize:]
		switch kind := data[g.at]; {
		case kind == frameCommit && g.at > max(start, headerSize):
			g.sum = crc32.Checksum(data[start:g.at], castagnoli) == number
			g.end = g.at + frameSize
			return g
		case kind != frameRecord && kind != frameIndex:
			g.why = "no frame begins here"
			return g
		case uint64(number) > uint64(len(rest)):
			g.why = "a frame is longer than the file"
			return g
		case kind == frameIndex:
			g.index = g.at + frameSize
		default:
			rec, err := readEntry(rest[:number], salt, next+LSN(len(g.records)))
			if err != nil {
				g.why = err.Error()
				return g
			}
			g.records = append(g.records, rec)
		}
		g.at += frameSize + (int(number)+frameSize-1)/frameSize*frameSize
	}
}

// readEntry takes the record out of the payload of a frame.
func readEntry(b []byte, salt uint64, want LSN) (Record, error) {
	var numbers [4]uint64 // index, term, type, length of data
	for i := range numbers {
		n := 0
		if numbers[i], n = binary.Uvarint(b); n <= 0 {
			return Record{}, fmt.Errorf("the entry of a record cannot be decoded")
		}
		b = b[n:]
	}
	size := numbers[3]
	if size > uint64(len(b)) {
		return Record{}, fmt.Errorf("the entry of a record is longer than its frame")
	}
	rec, _, err := unseal(b[:size], salt)
	switch {
	case err != nil:
		return Record{}, err
	case rec.LSN != want || numbers[0] != uint64(want) || envelopeSize+len(rec.Data) != int(size):
		return Record{}, fmt.Errorf("record %d stands in the place of record %d", rec.LSN, want)
	}
	return rec, nil
}

// claimed returns the highest LSN that some record in b, wherever it stands, says
// was durable.
func claimed(b []byte, salt uint64) (highest LSN) {
	var mark [saltSize]byte
	binary.LittleEndian.PutUint64(mark[:], salt)
	for {
		at := bytes.Index(b, mark[:])
		if at < 0 {
			return highest
		}
		if _, durable, err := unseal(b[at:], salt); err == nil {
			highest = max(highest, durable)
		}
		b = b[at+1:]
	}
}

func checkHeader(data []byte, info types.SegmentInfo) string {
	if len(data) < headerSize {
		return "the file ends in its header"
	}
	for i, want := range [...]uint64{magic, info.BaseIndex, info.ID, codec} {
		if binary.LittleEndian.Uint64(data[8*i:]) != want {
			return "the header is not the one of this segment"
		}
	}
	return ""
}
