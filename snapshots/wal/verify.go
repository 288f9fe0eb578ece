package wal

import (
	"errors"
	"iter"

	"github.com/hashicorp/raft-wal/segment"
)

// Report is what Verify finds.
type Report struct {
	Segments int
	First    LSN   // of the oldest record; Last+1 if there is none
	Last     LSN   // of the newest one that can be read
	Entries  int   // records that can be read
	Bytes    int64 // of their data
	// Torn is the bytes of an unfinished group at the end, which a crash leaves and
	// the next Open drops. It was never acknowledged, unless Last is below an LSN
	// that somebody was promised.
	Torn int64
	// Faults are *CorruptError, in the order of the files; others say that a file
	// could not be read.
	Faults []error
}

// Lost says whether some fault has cost records, or hides whether it has.
func (r Report) Lost() bool {
	for _, err := range r.Faults {
		var c *CorruptError
		if !errors.As(err, &c) || !c.Harmless {
			return true
		}
	}
	return false
}

// Verify reads all of a journal that nobody has open, and changes nothing. The error
// is for what keeps it from looking (ErrInUse, fs.ErrNotExist for a folder without a
// journal); damage is in the report.
func Verify(dir string) (Report, error) {
	release, err := share(dir)
	if err != nil {
		return Report{}, err
	}
	defer release()
	return verify(osFS{dir, true})
}

func verify(s FS) (r Report, err error) {
	names, err := s.List()
	if err != nil {
		return r, err
	}
	m, err := readMeta(s)
	if missing(err) {
		if lost := neverWritten(s, names); lost != nil {
			r.Faults = append(r.Faults, lost)
			return r, nil
		}
		return r, err
	}
	if err != nil {
		r.Faults = append(r.Faults, err)
		return r, nil
	}
	r.Segments, r.First, r.Last = len(m.Segments), m.first(), m.first()-1
	if _, err := leftovers(s, m, names); err != nil && !missingKnown(err) {
		r.Faults = append(r.Faults, err)
	}
	for _, info := range m.Segments {
		_, f, err := scanFile(s, m, info, all)
		if err != nil {
			r.Faults = append(r.Faults, err)
			continue
		}
		r.add(f, LSN(info.MinIndex))
		if info.SealTime.IsZero() {
			r.Torn = int64(max(0, f.used-f.end))
		}
	}
	return r, nil
}

// missingKnown says whether the scan of the segment will say the same.
func missingKnown(err error) bool {
	var c *CorruptError
	return errors.As(err, &c) && c.LSN > 0
}

func (r *Report) add(f found, from LSN) {
	for _, rec := range f.records {
		if rec.LSN < from {
			continue
		}
		r.Entries++
		r.Bytes += int64(len(rec.Data))
		r.Last = rec.LSN
	}
	for _, fault := range f.faults {
		r.Faults = append(r.Faults, fault)
	}
}

// Records reads a journal that nobody has open, from an LSN on, and changes nothing.
// A fault comes as an error in its place with a zero Record; the records behind it
// follow. Every record is verified. Its data shares memory with its segment: copy
// what is to be kept.
func Records(dir string, from LSN) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		release, err := share(dir)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer release()
		s := osFS{dir, true}
		m, err := readMeta(s)
		if err != nil {
			yield(Record{}, err)
			return
		}
		each(s, m, from, nil, yield)
	}
}

// each yields the records of all segments from an LSN on, and faults in their place:
// those of a segment behind its records, for a scan ends at the one that counts. known
// is a segment that has been scanned, or nil.
func each(s FS, m meta, from LSN, known *scanned, yield func(Record, error) bool) {
	for _, info := range m.Segments {
		if !info.SealTime.IsZero() && LSN(info.MaxIndex) < from {
			continue
		}
		done, more := 0, true
		records := func(f *found) bool {
			for ; more && done < len(f.records); done++ {
				if rec := f.records[done]; rec.LSN >= max(from, LSN(info.MinIndex)) {
					more = yield(rec, nil)
				}
			}
			return more
		}
		var f found
		var err error
		if known != nil && known.name == segment.FileName(info) {
			f = known.found
		} else if _, f, err = scanFile(s, m, info, records); err != nil {
			if !yield(Record{}, err) {
				return
			}
			continue
		}
		records(&f)
		for i := 0; more && i < len(f.faults); i++ {
			more = yield(Record{}, f.faults[i])
		}
		if !more {
			return
		}
	}
}
