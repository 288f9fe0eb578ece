package journal

import (
	"iter"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"jird/snapshots/sexpr"
)

// Memory is an agent's durable memory: canonical keys and values. It can be
// frozen while it goes on changing, so that a checkpoint is written without
// stopping calls. Not safe for concurrent use, but for what Freeze returns.
type Memory struct {
	values map[string]string
	bytes  int
	later  map[string]string // changes since Freeze; gone means deleted; nil when not frozen
}

// gone cannot be a canonical value.
const gone = ""

// NewMemory reads an association list, as an image holds it.
func NewMemory(alist sexpr.Value) (*Memory, error) {
	m := &Memory{values: map[string]string{}}
	list, _ := alist.(sexpr.List)
	for _, entry := range list {
		key, value, ok := pair(entry)
		if !ok {
			return nil, errNotPairs
		}
		if err := m.Apply([]Write{{key, value}}); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// pair takes (key . value) apart, in whichever form it was read.
func pair(v sexpr.Value) (key, value sexpr.Value, ok bool) {
	text, isText := v.(sexpr.Text)
	if !isText {
		return sexpr.Pair(v)
	}
	if inside, ok := text.Inside(); ok && inside != "" {
		key, rest := inside.Cut()
		return key, consRest(rest), true
	}
	return nil, nil, false
}

// consRest is the value whose items, or ". " and itself, follow a key.
func consRest(rest sexpr.Text) sexpr.Text {
	if value, dotted := strings.CutPrefix(string(rest), ". "); dotted {
		return sexpr.Text(value)
	}
	return "(" + rest + ")"
}

// Apply makes changes, in order. On error none is made.
func (m *Memory) Apply(writes []Write) error {
	texts := make([][2]string, len(writes))
	for i, w := range writes {
		key, err := sexpr.TextOf(w.Key)
		if err != nil {
			return err
		}
		value := sexpr.Text(gone)
		if w.Value != nil {
			if value, err = sexpr.TextOf(w.Value); err != nil {
				return err
			}
		}
		// A copy: they may be parts of a longer text, of which no more is to be kept.
		both := string(key + value)
		texts[i] = [2]string{both[:len(key)], both[len(key):]}
	}
	for _, t := range texts {
		m.set(t[0], t[1])
	}
	return nil
}

func (m *Memory) set(key, value string) {
	if old, ok := m.get(key); ok {
		m.bytes -= len(key) + len(old)
	}
	if value != gone {
		m.bytes += len(key) + len(value)
	}
	switch {
	case m.later != nil:
		m.later[key] = value
	case value == gone:
		delete(m.values, key)
	default:
		m.values[key] = value
	}
}

func (m *Memory) get(key string) (string, bool) {
	if value, ok := m.later[key]; ok {
		return value, value != gone
	}
	value, ok := m.values[key]
	return value, ok
}

// Bytes is the size of all keys and values, without what stands between them.
func (m *Memory) Bytes() int { return m.bytes }

// All gives every key and value in canonical form, in no order.
func (m *Memory) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for key, value := range m.values {
			if _, changed := m.later[key]; !changed && !yield(key, value) {
				return
			}
		}
		for key, value := range m.later {
			if value != gone && !yield(key, value) {
				return
			}
		}
	}
}

// Datum is the memory as an association list, sorted by key. Its entries are
// sexpr.Text.
func (m *Memory) Datum() sexpr.List {
	list := sexpr.List{}
	for _, entry := range sorted(m.All()) {
		list = append(list, sexpr.Text(entry))
	}
	return list
}

// Freeze returns the memory as it is now, in pieces for a checkpoint, to be read
// by another goroutine; Thaw must be called when that is done. It must not be
// called again before.
func (m *Memory) Freeze() Frozen {
	m.later = map[string]string{}
	return Frozen{m.values, m.bytes}
}

// Thaw takes the changes since Freeze in.
func (m *Memory) Thaw() {
	later := m.later
	m.later = nil
	for key, value := range later {
		if value == gone {
			delete(m.values, key)
		} else {
			m.values[key] = value
		}
	}
}

// Clone is a copy that shares nothing.
func (m *Memory) Clone() *Memory {
	return &Memory{values: maps.Collect(m.All()), bytes: m.bytes}
}

// Frozen is a memory at one moment.
type Frozen struct {
	values map[string]string
	bytes  int
}

// pieceSize is about how many bytes a piece has: small enough that a changed key
// costs little in the next checkpoint, large enough that there are not too many.
const pieceSize = 64 << 10

// Pieces cuts the memory by a hash of the key, so that a change of a key changes
// one piece. Each is an association list sorted by key, in canonical form.
func (f Frozen) Pieces() [][]byte {
	count := 1 << bits.Len(uint(f.bytes/pieceSize))
	buckets := make([]map[string]string, count)
	for key, value := range f.values {
		b := fnv(key) % uint64(count)
		if buckets[b] == nil {
			buckets[b] = map[string]string{}
		}
		buckets[b][key] = value
	}
	pieces := make([][]byte, count)
	for i, b := range buckets {
		pieces[i] = []byte("(" + strings.Join(sorted(maps.All(b)), " ") + ")")
	}
	return pieces
}

// fnv is FNV-1a, 64 bits (draft-eastlake-fnv): the same in every process, as the
// pieces of two checkpoints must be cut alike.
func fnv(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return h
}

// sorted gives the entries as canonical pairs, by key.
func sorted(all iter.Seq2[string, string]) []string {
	type entry struct{ key, value string }
	var entries []entry
	for k, v := range all {
		entries = append(entries, entry{k, v})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	texts := make([]string, len(entries))
	for i, e := range entries {
		texts[i] = consText(e.key, e.value)
	}
	return texts
}

// consText is the canonical form of (key . value): a list's tail is written
// without the dot.
func consText(key, value string) string {
	if value == "()" {
		return "(" + key + ")"
	}
	if strings.HasPrefix(value, "(") {
		return "(" + key + " " + value[1:]
	}
	return "(" + key + " . " + value + ")"
}
