package propose

import (
	"math/rand"
	"strings"
	"testing"

	"jird/snapshots/sexpr"
)

func TestLayout(t *testing.T) {
	source := `(define (walk tree) (let ((left (car tree)) (right (cdr tree))) (if (null? left) (quote (1 2)) (append (walk left) (list "a long text in the middle") (walk right)))))` +
		"\n(define (short x) x)"
	want := `(define (walk tree)
  (let ((left (car tree)) (right (cdr tree)))
    (if (null? left)
      '(1 2)
      (append (walk left) (list "a long text in the middle") (walk right)))))
(define (short x) x)`
	if got := layout(source); got != want {
		t.Errorf("it is laid out as\n%s", got)
	}
}

// What is laid out reads as what it was.
func TestLayoutReadsBack(t *testing.T) {
	same := func(source string) {
		t.Helper()
		before, err := sexpr.ReadAll([]byte(source))
		if err != nil {
			t.Fatal(err)
		}
		after, err := sexpr.ReadAll([]byte(layout(source)))
		if err != nil || !sexpr.Equal(sexpr.List(before), sexpr.List(after)) {
			t.Errorf("%s\nis laid out as\n%s\n%v", source, layout(source), err)
		}
	}
	g := policies()
	g.MaxDepth, g.MaxSize = 30, 1000
	rng := rand.New(rand.NewSource(1))
	for range 10 {
		genome := g.Random(rng)
		for range 20 {
			genome = g.Subtree(rng, genome)
		}
		same(genome.Source())
	}
	same(`(define (f . x) (quote) (quote a b) (quote (quote a)) #(1 2) #u8(1) "a\nb" #\x41 |odd name| key: (a . b) () (()) #t 1e100)`)
	deep := strings.Repeat("(list 1 ", 400) + strings.Repeat(")", 400)
	if same(deep); len(layout(deep)) > 100*400 {
		t.Errorf("%d bytes of %d are shown", len(deep), len(layout(deep)))
	}
}
