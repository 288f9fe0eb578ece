package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// LSN is the log sequence number of a record: 1, 2, 3 and so on without a gap.
// 0 is before the first.
type LSN uint64

// Record is one entry of the journal.
type Record struct {
	LSN  LSN
	Data []byte
}

// MaxRecord is the most bytes of one record, 16 MiB.
const MaxRecord = 16 << 20

// Envelope of a record, numbers little-endian:
//
//	0        8      12       16      24        32
//	+--------+------+--------+-------+---------+------
//	| salt   | CRC  | length | LSN   | durable | data …
//	+--------+------+--------+-------+---------+------
//
//	salt     random, one for the life of a journal: finds a record among bytes
//	         whose frames are damaged. An agent writes data but cannot know the
//	         salt, so it cannot forge a record inside its data
//	CRC      CRC-32C (RFC 3720, B.4) of all other bytes of the envelope and data
//	length   of the data
//	LSN      its own
//	durable  the highest LSN that was durable when this was written, less than LSN.
//	         It tells damage from a torn write: a group that was cut off by a crash
//	         has nothing behind it that claims it
const (
	envelopeSize = 32
	saltSize     = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errEnvelope = errors.New("bad envelope")

// envelope copies a record into one; seal completes it.
func envelope(salt uint64, lsn LSN, data []byte) []byte {
	b := make([]byte, envelopeSize+len(data))
	binary.LittleEndian.PutUint64(b, salt)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(data)))
	binary.LittleEndian.PutUint64(b[16:], uint64(lsn))
	copy(b[envelopeSize:], data)
	return b
}

func seal(b []byte, durable LSN) {
	binary.LittleEndian.PutUint64(b[24:], uint64(durable))
	binary.LittleEndian.PutUint32(b[8:], checksum(b))
}

func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:8], castagnoli), castagnoli, b[12:])
}

// unseal verifies the envelope that b begins with. What follows it in b is not
// looked at. The data is a part of b.
func unseal(b []byte, salt uint64) (rec Record, durable LSN, err error) {
	if len(b) < envelopeSize || binary.LittleEndian.Uint64(b) != salt {
		return rec, 0, fmt.Errorf("%w: no salt of this journal", errEnvelope)
	}
	size := binary.LittleEndian.Uint32(b[12:])
	if size > MaxRecord || int(size) > len(b)-envelopeSize {
		return rec, 0, fmt.Errorf("%w: a length of %d bytes", errEnvelope, size)
	}
	b = b[: envelopeSize+size : envelopeSize+size]
	if binary.LittleEndian.Uint32(b[8:]) != checksum(b) {
		return rec, 0, fmt.Errorf("%w: the checksum does not match", errEnvelope)
	}
	rec = Record{LSN(binary.LittleEndian.Uint64(b[16:])), b[envelopeSize:]}
	durable = LSN(binary.LittleEndian.Uint64(b[24:]))
	if durable >= rec.LSN {
		return Record{}, 0, fmt.Errorf("%w: record %d claims that %d is durable", errEnvelope, rec.LSN, durable)
	}
	return rec, durable, nil
}
