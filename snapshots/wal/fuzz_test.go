package wal

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft-wal/types"
)

func sealed(salt uint64, lsn, durable LSN, data []byte) []byte {
	b := envelope(salt, lsn, data)
	seal(b, durable)
	return b
}

// What decodes encodes to the same bytes, so that a record has one form only.
func FuzzEnvelope(f *testing.F) {
	f.Add(sealed(42, 1, 0, []byte("data")), uint64(42), true)
	f.Add(sealed(1<<63, 1<<40, 1<<40-1, nil), uint64(1<<63), false)
	f.Add(sealed(42, 5, 5, nil), uint64(42), true)
	f.Add(append(sealed(42, 5, 1, []byte("x")), "more"...), uint64(42), false)
	f.Add([]byte{}, uint64(0), false)
	f.Fuzz(func(t *testing.T, b []byte, salt uint64, fix bool) {
		if fix && len(b) >= envelopeSize { // a fuzzer finds no checksum by itself
			size := min(len(b), envelopeSize+int(binary.LittleEndian.Uint32(b[12:])))
			binary.LittleEndian.PutUint32(b[8:], checksum(b[:size]))
		}
		rec, durable, err := unseal(b, salt)
		if err != nil {
			return
		}
		again := sealed(salt, rec.LSN, durable, rec.Data)
		if !bytes.Equal(again, b[:len(again)]) || durable >= rec.LSN {
			t.Errorf("record %d, durable %d, %d bytes: encodes to other bytes", rec.LSN, durable, len(rec.Data))
		}
	})
}

// A scan of any bytes gives records in order that verify, or none.
func FuzzScan(f *testing.F) {
	for i, data := range segments(f) {
		f.Add(data, uint64(i%5), uint16(0), byte(0))
		f.Add(data, uint64(2), uint16(40+9*i), byte(1))
	}
	f.Add([]byte{}, uint64(3), uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, floor uint64, at uint16, flip byte) {
		if len(data) > 0 {
			data[int(at)%len(data)] ^= flip
		}
		info := types.SegmentInfo{ID: 1, BaseIndex: 1, MinIndex: 1, SizeLimit: smallSegment}
		got := scan(data, "x", info, 42, LSN(floor), all)
		if got.last > got.end || got.end > len(data) || got.index > got.end {
			t.Fatalf("last %d, end %d, index %d of %d bytes", got.last, got.end, got.index, len(data))
		}
		for i, rec := range got.records {
			if rec.LSN != LSN(i)+1 || !bytes.Contains(data, rec.Data) {
				t.Fatalf("record %d in the place of %d", rec.LSN, i+1)
			}
		}
		if LSN(len(got.records)) < LSN(floor) && (len(got.faults) == 0 || got.faults[len(got.faults)-1].Harmless) {
			t.Fatalf("%d records where %d must be, and no fault", len(got.records), floor)
		}
	})
}

// segments are first segments of journals with the salt 42.
func segments(f *testing.F) (all [][]byte) {
	for n := range 6 {
		d := newDisk()
		salted := Options{FS: d, Create: true, SegmentSize: smallSegment}
		l := mustOpen(f, "sim", salted)
		for i := range n {
			put(f, l, randomData(rand.New(rand.NewPCG(1, uint64(i))), 100*i))
		}
		data := bytes.ReplaceAll(d.names["00000000000000000001-0000000000000001.wal"].now().data,
			binary.LittleEndian.AppendUint64(nil, l.salt), binary.LittleEndian.AppendUint64(nil, 42))
		all = append(all, resealed(data))
	}
	return all
}

// resealed makes the checksums right again after the salt has changed.
func resealed(data []byte) []byte {
	mark := binary.LittleEndian.AppendUint64(nil, 42)
	for at := 0; ; at++ {
		i := bytes.Index(data[at:], mark)
		if i < 0 {
			return data
		}
		at += i
		size := envelopeSize + int(binary.LittleEndian.Uint32(data[at+12:]))
		binary.LittleEndian.PutUint32(data[at+8:], checksum(data[at:at+size]))
	}
}
