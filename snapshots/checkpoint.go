package snapshots

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"time"

	"jird/snapshots/sexpr"
)

// Checkpoint is the durable state of a live agent at one LSN: all that the
// records of its journal up to that one add up to.
type Checkpoint struct {
	Agent string
	LSN   uint64
	// Clean says that the guard ended in order: when it was made, no record of the
	// journal followed.
	Clean bool
	Image ID        // the code that was live
	Time  time.Time // when the state was frozen; kept to the nanosecond, in UTC
	Parts []Part    // names differ
}

// Part is one opaque part of a checkpoint. Each piece, of at most 1 MiB, is one
// chunk: a piece that did not change since an older checkpoint costs no bytes.
type Part struct {
	Name   string
	Pieces [][]byte
}

// checkpointName is what a file under checkpoints/ is named by. Of two
// checkpoints at one LSN the one of the higher generation was put later: an
// agent that ended in order and was started again has both a clean one and one
// that is not.
type checkpointName struct {
	agent      string
	lsn        uint64
	generation uint64
	hash       string
}

// The name's numbers have 20 digits, as many as the largest uint64.
func (n checkpointName) String() string {
	return fmt.Sprintf("%s/%020d-%020d-%s", n.agent, n.lsn, n.generation, n.hash)
}

func (n checkpointName) rel() string { return "checkpoints/" + n.String() }

var (
	agentPattern      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	checkpointPattern = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]{0,63})/([0-9]{20})-([0-9]{20})-([0-9a-f]{64})$`)
)

func parseCheckpointName(name string) (checkpointName, error) {
	m := checkpointPattern.FindStringSubmatch(name)
	if m == nil {
		return checkpointName{}, fmt.Errorf("%q is not a checkpoint: NAME/LSN-GENERATION-HASH", name)
	}
	lsn, err := strconv.ParseUint(m[2], 10, 64)
	if err == nil {
		var generation uint64
		generation, err = strconv.ParseUint(m[3], 10, 64)
		return checkpointName{m[1], lsn, generation, m[4]}, err
	}
	return checkpointName{}, err
}

// checkpointManifest is a checkpoint with hashes for its pieces.
type checkpointManifest struct {
	agent      string
	lsn        uint64
	generation uint64
	clean      bool
	image      ID
	time       time.Time
	parts      []checkpointPart
}

type checkpointPart struct {
	name   string
	chunks []string
}

func (m *checkpointManifest) chunks() []string {
	var all []string
	for _, p := range m.parts {
		all = append(all, p.chunks...)
	}
	return all
}

// The manifest of a checkpoint, version 1; the time is RFC 3339, in UTC:
//
//	(jird-checkpoint 1 "agent" LSN generation clean? "image" "time" (("part" "chunk" ...) ...))
func (m *checkpointManifest) encode() ([]byte, error) {
	parts := sexpr.List{}
	for _, p := range m.parts {
		parts = append(parts, append(sexpr.List{sexpr.String(p.name)}, texts(p.chunks)...))
	}
	return sexpr.Canonical(sexpr.List{
		sexpr.Symbol("jird-checkpoint"), sexpr.NewInt(1), sexpr.String(m.agent), number(m.lsn), number(m.generation),
		sexpr.Bool(m.clean), sexpr.String(m.image), sexpr.String(m.time.UTC().Format(time.RFC3339Nano)), parts,
	})
}

func number(n uint64) sexpr.Int { return sexpr.NewBig(new(big.Int).SetUint64(n)) }

func decodeCheckpoint(data []byte) (*checkpointManifest, error) {
	v, err := sexpr.DecodeCanonical(data)
	if err != nil {
		return nil, err
	}
	list, ok := v.(sexpr.List)
	if !ok || len(list) < 2 || list[0] != sexpr.Symbol("jird-checkpoint") {
		return nil, fmt.Errorf("not the manifest of a checkpoint")
	}
	if !sexpr.Equal(list[1], sexpr.NewInt(1)) {
		return nil, errNewer
	}
	m := &checkpointManifest{}
	f := fields{rest: list[2:]}
	m.agent = f.text(agentPattern)
	m.lsn = f.number()
	m.generation = f.number()
	m.clean = f.bool()
	m.image = ID(f.text(hashPattern))
	m.time = f.time()
	m.parts = f.parts()
	if f.bad || len(f.rest) > 0 {
		return nil, fmt.Errorf("manifest is not of the form (jird-checkpoint 1 AGENT LSN GENERATION CLEAN IMAGE TIME PARTS)")
	}
	return m, nil
}

// errNewer is no damage: the file is left where it is.
var errNewer = fmt.Errorf("the checkpoint is of a version that this jird does not know; use a newer jird")

// fields takes the items of a list one by one; bad stays once an item was not
// what was asked for.
type fields struct {
	rest sexpr.List
	bad  bool
}

// next is the next item if it is of type T.
func next[T sexpr.Value](f *fields) (item T) {
	if len(f.rest) == 0 {
		f.bad = true
		return item
	}
	item, ok := f.rest[0].(T)
	f.rest, f.bad = f.rest[1:], f.bad || !ok
	return item
}

func (f *fields) text(pattern *regexp.Regexp) string {
	s := string(next[sexpr.String](f))
	f.bad = f.bad || !pattern.MatchString(s)
	return s
}

func (f *fields) number() uint64 {
	n := next[sexpr.Int](f).Big()
	f.bad = f.bad || !n.IsUint64()
	return n.Uint64()
}

func (f *fields) bool() bool { return bool(next[sexpr.Bool](f)) }

func (f *fields) time() time.Time {
	s := string(next[sexpr.String](f))
	t, err := time.Parse(time.RFC3339Nano, s)
	f.bad = f.bad || err != nil || t.UTC().Format(time.RFC3339Nano) != s
	return t.UTC()
}

func (f *fields) parts() []checkpointPart {
	var parts []checkpointPart
	seen := map[string]bool{}
	for _, item := range next[sexpr.List](f) {
		list, _ := item.(sexpr.List)
		inner := fields{rest: list}
		name := string(next[sexpr.String](&inner))
		chunks, ok := hashes[string](inner.rest)
		f.bad = f.bad || inner.bad || !ok || seen[name]
		seen[name] = true
		parts = append(parts, checkpointPart{name, chunks})
	}
	return parts
}
