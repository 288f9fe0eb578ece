package snapshots

import (
	"reflect"
	"strings"
	"testing"

	"jird/snapshots/sexpr"
)

func TestDiffFiles(t *testing.T) {
	big := []byte(strings.Repeat("line\n", maxDiffed/5+1))
	a := &Image{Files: []File{{"gone", false, []byte("1\n")}, {"same", false, []byte("s")}, {"mode", false, []byte("m")}, {"text", false, []byte("a\nb\nc\n")}, {"binary", false, []byte{0, 1}}, {"big", false, big}}}
	b := &Image{Files: []File{{"same", false, []byte("s")}, {"mode", true, []byte("m")}, {"text", false, []byte("a\nB\nc\n")}, {"binary", false, []byte{0, 2}}, {"big", false, big[5:]}, {"new", true, []byte("n")}}}
	var got []string
	for _, c := range DiffFiles(a, b) {
		got = append(got, c.Change+" "+c.Path)
		if text := c.Path == "gone" || c.Path == "text" || c.Path == "new"; text != (c.Lines != "") {
			t.Errorf("%s: lines %q", c.Path, c.Lines)
		}
		if c.Executable != (c.Path == "mode") {
			t.Errorf("%s: executable changed: %v", c.Path, c.Executable)
		}
		if c.Path == "text" && !strings.Contains(c.Lines, " a\n-b\n+B\n c\n") {
			t.Error(c.Lines)
		}
	}
	if want := []string{"changed big", "changed binary", "removed gone", "changed mode", "added new", "changed text"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if same := DiffFiles(a, a); len(same) > 0 {
		t.Error(same)
	}
}

func TestDiffMemory(t *testing.T) {
	memory := func(text string) *Image {
		v, err := sexpr.Read([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return &Image{Memory: v}
	}
	for _, test := range []struct {
		a, b string
		want []ValueChange
	}{
		{"((a . 1) (b 1 2))", "((b 1 2) (a . 1))", []ValueChange{}},
		{"((a . 1))", "((a . 2) (a . 1))", []ValueChange{{"a", Changed, "1", "2"}}},
		{"(((k 1) . #f))", "(((k 2)))", []ValueChange{{"(k 1)", Removed, "#f", ""}, {"(k 2)", Added, "", "()"}}},
		{"((a 1 . 2))", "()", []ValueChange{{"a", Removed, "(1 . 2)", ""}}},
		{"#(1)", "#(2)", []ValueChange{{"(all of it)", Changed, "#(1)", "#(2)"}}},
		{"((a . 1) b)", "((a . 1))", []ValueChange{{"(all of it)", Removed, "((a . 1) b)", ""}, {"a", Added, "", "1"}}},
	} {
		if got, err := DiffMemory(memory(test.a), memory(test.b)); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s and %s: %+v, %v", test.a, test.b, got, err)
		}
	}
	if got, err := DiffMemory(&Image{}, &Image{Memory: sexpr.List{}}); err != nil || len(got) > 0 {
		t.Error(got, err)
	}
}
