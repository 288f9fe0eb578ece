package sexpr

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func vectors(t testing.TB) [][2]string {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all [][2]string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "//") {
			continue
		}
		source, want, ok := strings.Cut(line, "  =>  ")
		if !ok {
			t.Fatalf("not a vector: %s", line)
		}
		all = append(all, [2]string{source, want})
	}
	if len(all) < 30 {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		got, err := Read([]byte(v[0]))
		if err != nil {
			t.Errorf("%s: %v", v[0], err)
			continue
		}
		text, err := Canonical(got)
		if err != nil || string(text) != v[1] {
			t.Errorf("%s: canonical form %s, want %s (%v)", v[0], text, v[1], err)
		}
		if _, err := DecodeCanonical([]byte(v[1])); err != nil {
			t.Errorf("%s: %v", v[1], err)
		}
	}
}

// A runtime reads both forms of every vector as the same value, and writes it so
// that Read gives that value too.
func TestRuntimesReadVectorsBack(t *testing.T) {
	tried := 0
	for _, runtime := range []struct{ program, option string }{{"gsi", "-:f8,-8"}, {"gxi", "-:f8,-8"}} {
		path, err := exec.LookPath(runtime.program)
		if err != nil {
			continue
		}
		tried++
		var script strings.Builder
		script.WriteString("(define (say a b) (if (equal? a b) (begin (write a) (newline)) (begin (display \"DIFFER \") (write a) (write b) (newline))))\n")
		for _, v := range vectors(t) {
			script.WriteString("(say '" + v[0] + " '" + v[1] + ")\n")
		}
		file := filepath.Join(t.TempDir(), "vectors.scm")
		if err := os.WriteFile(file, []byte(script.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(path, runtime.option, file).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", runtime.program, err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		for i, v := range vectors(t) {
			if i >= len(lines) {
				t.Fatalf("%s answered %d of %d vectors:\n%s", runtime.program, len(lines), len(vectors(t)), out)
			}
			back, err := Read([]byte(lines[i]))
			if err != nil {
				t.Errorf("%s wrote %s for %s: %v", runtime.program, lines[i], v[0], err)
				continue
			}
			if text, _ := Canonical(back); string(text) != v[1] {
				t.Errorf("%s: %s came back as %s, want %s", runtime.program, v[0], text, v[1])
			}
		}
	}
	if tried == 0 {
		t.Skip("skipped: neither gsi nor gxi is installed")
	}
}

func values() *rapid.Generator[Value] {
	atom := rapid.OneOf(
		rapid.Map(rapid.StringN(1, 8, -1), func(s string) Value { return Symbol(strings.ToValidUTF8(s, "?")) }),
		rapid.Map(rapid.String(), func(s string) Value { return String(strings.ToValidUTF8(s, "?")) }),
		rapid.Map(rapid.Int64(), func(n int64) Value { return NewInt(n) }),
		rapid.Map(rapid.Float64().Filter(func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }), func(f float64) Value { return Float(f) }),
		rapid.Map(rapid.Bool(), func(b bool) Value { return Bool(b) }),
		rapid.Map(rapid.Int32Range(0, 0xd7ff), func(r int32) Value { return Char(r) }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) Value { return Bytes(b) }),
	)
	var at func(depth int) *rapid.Generator[Value]
	at = func(depth int) *rapid.Generator[Value] {
		if depth == 0 {
			return atom
		}
		inner := rapid.SliceOfN(at(depth-1), 0, 4)
		return rapid.OneOf(atom,
			rapid.Map(inner, func(v []Value) Value { return List(v) }),
			rapid.Map(inner, func(v []Value) Value { return Vector(v) }),
			rapid.Custom(func(t *rapid.T) Value {
				return Dotted{rapid.SliceOfN(at(depth-1), 1, 3).Draw(t, "items"), atom.Draw(t, "tail")}
			}))
	}
	return at(3)
}

func TestReadUndoesCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values().Draw(t, "value")
		text, err := Canonical(v)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeCanonical(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !Equal(v, back) {
			t.Fatalf("%s came back otherwise", text)
		}
		taken, err := DecodeText(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		checkText(t, taken, v)
		// Changed anywhere, it is the text of another value or of none.
		at, to := rapid.IntRange(0, len(text)-1).Draw(t, "at"), rapid.SampledFrom([]byte(" ().\"|\\#:-0a\n\x80")).Draw(t, "to")
		text[at] = to
		_, err = DecodeCanonical(text)
		if _, textErr := DecodeText(text); (err == nil) != (textErr == nil) {
			t.Fatalf("%q: as a value %v, as text %v", text, err, textErr)
		}
	})
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkText holds what a text gives against the value that it is of.
func checkText(t fataler, text Text, v Value) {
	t.Helper()
	if again, err := Canonical(text); err != nil || string(again) != string(text) {
		t.Fatalf("%s is written as %s (%v)", text, again, err)
	}
	s, isString := text.Str()
	if want, ok := v.(String); ok != isString || s != string(want) {
		t.Fatalf("%s is the string %q, want %q", text, s, want)
	}
	n, fits := text.Int64()
	i, isInt := v.(Int)
	want, wantFits := i.Int64()
	if fits != (isInt && wantFits) || fits && n != want {
		t.Fatalf("%s is the number %d", text, n)
	}
	var items []Value
	tail := Value(nil)
	rest, isList := text.Inside()
	switch v := v.(type) {
	case List:
		items = v
	case Dotted:
		items, tail = v.Items, v.Tail
	default:
		if isList {
			t.Fatalf("%s is a list", text)
		}
		return
	}
	var item Text
	for _, v := range items {
		item, rest = rest.Cut()
		checkText(t, item, v)
	}
	if tail != nil {
		dotted, ok := strings.CutPrefix(string(rest), ". ")
		if !ok {
			t.Fatalf("%s has no tail", text)
		}
		checkText(t, Text(dotted), tail)
	} else if rest != "" {
		t.Fatalf("%s has more items than %d", text, len(items))
	}
}

func TestSyntaxErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		"(a\n  (b c)": "1:1", "(a))": "1:4", "\n [a]": "2:2", `("x`: "1:2", "(a . )": "1:4", "(1 2 +inf.0)": "1:6", `"\q"`: "1:2",
		"a b": "1:1", "": "1:1", "#|": "1:1", "1/2": "1:1", "#u8(256)": "1:1",
	} {
		_, err := Read([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want+": ") {
			t.Errorf("%q: %v, want an error at %s", text, err, want)
		}
	}
}

func TestCapsHold(t *testing.T) {
	deep := strings.Repeat("(", 10_000_000)
	if _, err := Read([]byte(deep)); err == nil {
		t.Error("10,000,000 open parentheses were read")
	}
	if _, err := Read([]byte(strings.Repeat("'", 5_000_000) + "a")); err == nil {
		t.Error("5,000,000 quotes were read")
	}
	if _, err := Read([]byte(strings.Repeat("#;", 5_000_000) + "a")); err == nil {
		t.Error("5,000,000 datum comments were read")
	}
	var v Value = Bool(true)
	for range MaxDepth + 2 {
		v = List{v}
	}
	if _, err := Canonical(v); err == nil {
		t.Error("a value that is too deep was written")
	}
	for n := MaxDepth - 1; n <= MaxDepth+2; n++ {
		text := []byte(strings.Repeat("(", n) + strings.Repeat(")", n))
		_, err := DecodeCanonical(text)
		if _, textErr := DecodeText(text); (err == nil) != (textErr == nil) {
			t.Errorf("%d deep: as a value %v, as text %v", n, err, textErr)
		}
	}
	if _, err := Canonical(Float(math.NaN())); err == nil {
		t.Error("NaN was written")
	}
}

func FuzzDecodeCanonical(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v[0]))
		f.Add([]byte(v[1]))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := DecodeCanonical(b)
		text, textErr := DecodeText(b)
		if (err == nil) != (textErr == nil) {
			t.Fatalf("%q: as a value %v, as text %v", b, err, textErr)
		}
		if err == nil {
			checkText(t, text, v)
			again, err := Canonical(v)
			if err != nil || !bytes.Equal(b, again) {
				t.Fatalf("%q decodes, and encodes as %q (%v)", b, again, err)
			}
		}
		if v, err := Read(b); err == nil {
			text, err := Canonical(v)
			if err != nil {
				t.Fatalf("%q reads, and has no canonical form: %v", b, err)
			}
			if _, err := DecodeCanonical(text); err != nil {
				t.Fatalf("%q has the canonical form %q, which does not decode: %v", b, text, err)
			}
		}
	})
}
