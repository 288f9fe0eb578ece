package population

import (
	"strings"
	"testing"
)

func openGrammar() *Grammar {
	return &Grammar{Open: true, Definitions: []Definition{{Name: "order"}}}
}

func TestOpenGenome(t *testing.T) {
	g := openGrammar()
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	a, err := g.Parse([]byte("(define limit 3) ; a comment\n(define (order items)\n  (helper items))\n(define (helper x) x)"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := g.Parse([]byte(a.Source()))
	if err != nil || b.Hash() != a.Hash() || b.Source() != a.Source() {
		t.Errorf("what Source writes is read as another genome: %v", err)
	}
	if a.Size() != 18 || a.Depth() != 3 {
		t.Errorf("size %d, depth %d", a.Size(), a.Depth())
	}
	if got := g.Shrinks(a); len(got) != 0 {
		t.Errorf("%d shorter ones", len(got))
	}
	for text, want := range map[string]string{
		"(define (helper x) x)":                        "order is not defined",
		"(define (order a) a) (define order 3)":        "defined twice",
		"(define (order a) a":                          "",
		"(define (order a) '" + longList(40_000) + ")": "over the limit",
	} {
		if _, err := g.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v; want an error that says %q", text, err, want)
		}
	}
}

func longList(n int) string { return "(" + strings.Repeat("abcdefgh ", n) + ")" }

func TestAmendOpen(t *testing.T) {
	g := openGrammar()
	a, err := g.Parse([]byte("(define (order items) (helper items)) (define (helper x) x)"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.Amend([]byte("(define (helper x) (more x)) (define (more x) (reverse x))"))
	if err != nil {
		t.Fatal(err)
	}
	want := "(define (more x) (reverse x))\n(define (order items) (helper items))\n(define (helper x) (more x))"
	if b.Source() != want {
		t.Errorf("got\n%s\nwant\n%s", b.Source(), want)
	}
	if same, err := a.Amend([]byte("(define (helper x) x)")); err != nil || same.Hash() != a.Hash() {
		t.Errorf("an amendment that changes nothing: %v", err)
	}
	for _, text := range []string{"", "; nothing", "(define (helper x) x) (define (helper x) x)"} {
		if _, err := a.Amend([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestAmendTyped(t *testing.T) {
	g := &Grammar{
		Definitions: []Definition{{Name: "a", Params: []Param{{Name: "x"}}}, {Name: "b", Params: []Param{{Name: "y"}}}},
		Functions:   []string{"+"}, MaxDepth: 5, MaxSize: 10,
	}
	one, err := g.Parse([]byte("(define (a x) x) (define (b y) 1.)"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := one.Amend([]byte("(define (b y) (+ y 2))"))
	if err != nil || two.Source() != "(define (a x) x)\n(define (b y) (+ y 2.))" {
		t.Errorf("%v %v", two, err)
	}
	for _, text := range []string{"(define (c x) x)", "(define (b y) (car y))", "(define (b y) 1) (define (b y) 2)", "3"} {
		if _, err := one.Amend([]byte(text)); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}
