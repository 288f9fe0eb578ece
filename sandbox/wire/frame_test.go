package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"jird/snapshots/sexpr"
)

func frame(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

var text = rapid.StringOfN(rapid.RuneFrom([]rune(`ab"|\;#(λ' `+"\n\x00")), 0, 8, -1)

// value draws any datum; names are hostile to a reader that looks for quotes.
func value(depth int) *rapid.Generator[sexpr.Value] {
	name := rapid.StringOfN(rapid.RuneFrom([]rune(`ab"|\;#(λ' `)), 1, 6, -1)
	leaves := []*rapid.Generator[sexpr.Value]{
		rapid.Map(rapid.Int64(), func(n int64) sexpr.Value { return sexpr.NewInt(n) }),
		rapid.Map(rapid.Float64Range(-1e300, 1e300), func(f float64) sexpr.Value { return sexpr.Float(f) }),
		rapid.Map(text, func(s string) sexpr.Value { return sexpr.String(s) }),
		rapid.Map(name, func(s string) sexpr.Value { return sexpr.Symbol(s) }),
		rapid.Map(name, func(s string) sexpr.Value { return sexpr.Keyword(s) }),
		rapid.Map(rapid.RuneFrom([]rune(`"|;a(`)), func(c rune) sexpr.Value { return sexpr.Char(c) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 5), func(b []byte) sexpr.Value { return sexpr.Bytes(b) }),
		rapid.Map(rapid.Bool(), func(b bool) sexpr.Value { return sexpr.Bool(b) }),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	items := rapid.SliceOfN(value(depth-1), 0, 4)
	return rapid.OneOf(append(leaves,
		rapid.Map(items, func(v []sexpr.Value) sexpr.Value { return sexpr.List(v) }),
		rapid.Map(items, func(v []sexpr.Value) sexpr.Value { return sexpr.Vector(v) }))...)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.SliceOfN(value(3), 1, 4).Draw(t, "data")
		var pipe bytes.Buffer
		for _, v := range sent {
			if err := Write(&pipe, v); err != nil {
				t.Fatal(err)
			}
		}
		one := iotestOneByte{&pipe} // however the bytes are dealt out
		for _, want := range sent {
			got, err := Read(one)
			if err != nil || !sexpr.Equal(got, want) {
				t.Fatalf("sent %#v, got %#v, %v", want, got, err)
			}
		}
		if _, err := Read(one); err != io.EOF {
			t.Fatalf("at the end: %v", err)
		}
	})
}

type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(1, len(b))]) }

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"nothing":           {nil, io.EOF},
		"half a length":     {[]byte{0, 0}, io.ErrUnexpectedEOF},
		"no body":           {[]byte{0, 0, 0, 5}, io.ErrUnexpectedEOF},
		"half a body":       {frame("(a b)")[:6], io.ErrUnexpectedEOF},
		"over the limit":    {binary.BigEndian.AppendUint32(nil, MaxFrame+1), ErrGarbage},
		"largest length":    {[]byte{255, 255, 255, 255}, ErrGarbage},
		"empty":             {frame(""), ErrGarbage},
		"two data":          {frame("1 2"), ErrGarbage},
		"open":              {frame("(a"), ErrGarbage},
		"comment":           {frame("(a ;b\n)"), ErrGarbage},
		"block comment":     {frame("(a #|b|# c)"), ErrGarbage},
		"datum comment":     {frame("(a #;b c)"), ErrGarbage},
		"nested":            {frame(strings.Repeat("(", 2000) + strings.Repeat(")", 2000)), ErrGarbage},
		"items":             {frame("(" + strings.Repeat("1 ", MaxItems) + ")"), ErrGarbage},
		"lists":             {frame("(" + strings.Repeat("()", MaxItems) + ")"), ErrGarbage},
		"quotes":            {frame("(" + strings.Repeat("'a ", MaxItems/2) + ")"), ErrGarbage},
		"after a character": {frame(`(#\" ` + strings.Repeat("1 ", MaxItems) + `)`), ErrGarbage},
		"after bars":        {frame(`(|"| ` + strings.Repeat("1 ", MaxItems) + `)`), ErrGarbage},
		"in an atom":        {frame(`(a#\"x" ` + strings.Repeat("1 ", MaxItems) + `)`), ErrGarbage},
	} {
		if v, err := Read(bytes.NewReader(c.bytes)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, v, err, c.want)
		}
	}
}

func TestLargest(t *testing.T) {
	if v, err := Read(bytes.NewReader(frame(strings.Repeat(" ", MaxFrame-1) + "1"))); err != nil || !sexpr.Equal(v, sexpr.NewInt(1)) {
		t.Errorf("the largest frame: %v, %v", v, err)
	}
	items := make(sexpr.List, MaxItems)
	for i := range items {
		items[i] = sexpr.Bool(true)
	}
	for _, c := range []struct {
		fits, over sexpr.Value
	}{
		{sexpr.String(strings.Repeat("x", MaxFrame-2)), sexpr.String(strings.Repeat("x", MaxFrame-1))},
		{items[1:], items},
	} {
		var b bytes.Buffer
		if err := Write(&b, c.over); !errors.Is(err, ErrUnsendable) || b.Len() != 0 {
			t.Errorf("one more: %v, and %d bytes were sent", err, b.Len())
		}
		if err := Write(&b, c.fits); err != nil || b.Len() == 0 {
			t.Errorf("the largest: %v", err)
		}
	}
}

// A length without bytes costs its sender, not the reader.
func TestLengthAloneTakesNoMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if _, err := Read(bytes.NewReader(binary.BigEndian.AppendUint32(nil, MaxFrame))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
		t.Errorf("100 lengths took %d bytes", took)
	}
}

func count(v sexpr.Value) int {
	var items []sexpr.Value
	switch v := v.(type) {
	case sexpr.List:
		items = v
	case sexpr.Vector:
		items = v
	case sexpr.Dotted:
		items = append(append(items, v.Items...), v.Tail)
	case sexpr.Bytes:
		return 1 + len(v)
	}
	n := 1
	for _, item := range items {
		n += count(item)
	}
	return n
}

// FuzzRead: whatever arrives, Read ends with a datum that can be sent again or
// with an error of its own, and never lets more items through than it counts.
func FuzzRead(f *testing.F) {
	for _, body := range []string{"(scores (ok 1 (2 . 3.)))", `("a\"b" |c"d| #\" #\x41 #u8(1 2))`, "'(a `(b ,c ,@d))", "#;a b", "(a#\\\"x\" y)", "-1e308", "foo: |a b|:"} {
		f.Add(frame(body))
	}
	f.Add([]byte{0, 0, 0, 9, '('})
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Read(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrGarbage) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		size := binary.BigEndian.Uint32(data)
		if n, _ := countItems(data[4 : 4+size]); n < count(v) {
			t.Errorf("%q: %d items were counted, the reader made %d", data[4:4+size], n, count(v))
		}
		var b bytes.Buffer
		if err := Write(&b, v); err != nil {
			t.Fatalf("read, and not writable: %v", err)
		}
		if again, err := Read(&b); err != nil || !sexpr.Equal(v, again) {
			t.Errorf("%v became %v, %v", v, again, err)
		}
	})
}
