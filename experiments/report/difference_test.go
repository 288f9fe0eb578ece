package report

import (
	"math/rand"
	"strings"
	"testing"

	"jird/snapshots/sexpr"
)

func TestDifference(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"(+ x 1)", "(+ x 1)", "(+ x 1)"},
		{"(+ x 1)", "(- x 1)", "([-+-] {+-+} x 1)"},
		{"(+ x 1)", "(* (+ x 1) 2)", "{+(* +}(+ x 1){+ 2)+}"},
		{"(* (+ x 1) 2)", "(+ x 1)", "[-(* -](+ x 1)[- 2)-]"},
		{"(if (< x 0) a b)", "(if (< x (abs 0)) a b)", "(if (< x {+(abs +}0{+)+}) a b)"},
		{"x", "(if (< x 10) (* 2 (+ x y)) 3)", "[-x-] {+(if (< x 10) (* 2 (+ x y)) 3)+}"},
		{"(begin a b c)", "(begin a c)", "(begin a [-b-] c)"},
		{"(define (f x) x)", "(define (f x) y)", "[-x-] {+y+}"},
		{"(((", "(+ x 1)", "[-(((-] {+(+ x 1)+}"},
	} {
		if got := bracketed(difference(c.old, c.new)); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.old, c.new, got, c.want)
		}
	}
}

// Without what was added a difference is the old source, and without what was removed the
// new one.
func TestDifferenceHoldsBoth(t *testing.T) {
	g, _ := grammar("")
	rng := rand.New(rand.NewSource(2))
	for range 200 {
		a := g.Random(rng)
		b := g.Crossover(rng, a, g.Random(rng))
		d := difference(a.Source(), b.Source())
		if got := without(t, d, added); got != a.Expr() {
			t.Fatalf("%s has as its old side %s, not %s", bracketed(d), got, a.Expr())
		}
		if got := without(t, d, removed); got != b.Expr() {
			t.Fatalf("%s has as its new side %s, not %s", bracketed(d), got, b.Expr())
		}
	}
}

func without(t *testing.T, d []part, c change) string {
	t.Helper()
	var text strings.Builder
	for _, p := range d {
		if p.Change != c {
			text.WriteString(p.Text)
		}
	}
	v, err := sexpr.Read([]byte(text.String()))
	if err != nil {
		t.Fatalf("%s: %v", text.String(), err)
	}
	canonical, err := sexpr.Canonical(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(canonical)
}

// bracketed is a difference as text.
func bracketed(d []part) (text string) {
	for _, p := range d {
		switch p.Change {
		case added:
			text += "{+" + p.Text + "+}"
		case removed:
			text += "[-" + p.Text + "-]"
		default:
			text += p.Text
		}
	}
	return text
}
