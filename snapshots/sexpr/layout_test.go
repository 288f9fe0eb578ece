package sexpr

import (
	"math/rand"
	"strings"
	"testing"
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
	if got := Layout(source); got != want {
		t.Errorf("it is laid out as\n%s", got)
	}
}

func TestLayoutLeavesWhatIsNoCode(t *testing.T) {
	for _, text := range []string{"open c32be79b4e2e", "(f", "", "(define (f) 1) x"} {
		if got := Layout(text); got != text {
			t.Errorf("%q is laid out as %q", text, got)
		}
	}
}

// What is laid out reads as what it was.
func TestLayoutReadsBack(t *testing.T) {
	same := func(source string) {
		t.Helper()
		before, err := ReadAll([]byte(source))
		if err != nil {
			t.Fatal(err)
		}
		after, err := ReadAll([]byte(Layout(source)))
		if err != nil || !Equal(List(before), List(after)) {
			t.Errorf("%s\nis laid out as\n%s\n%v", source, Layout(source), err)
		}
	}
	rng := rand.New(rand.NewSource(1))
	var tree func(depth int) string
	tree = func(depth int) string {
		if depth == 0 || rng.Intn(5) == 0 {
			return []string{"x", "1.5", "'(a b)", "\"some text\""}[rng.Intn(4)]
		}
		return "(if (< a-name " + tree(depth-1) + ") " + tree(depth-1) + " " + tree(depth-1) + ")"
	}
	for range 50 {
		same("(define (f x) " + tree(8) + ")")
	}
	same(`(define (f . x) (quote) (quote a b) (quote (quote a)) #(1 2) #u8(1) "a\nb" #\x41 |odd name| key: (a . b) () (()) #t 1e100)`)
	deep := strings.Repeat("(list 1 ", 400) + strings.Repeat(")", 400)
	if same(deep); len(Layout(deep)) > 100*400 {
		t.Errorf("%d bytes of %d are shown", len(deep), len(Layout(deep)))
	}
}
