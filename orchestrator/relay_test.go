package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots/sexpr"
)

// rounds asks each side for f of 1, 2 and 3, and gives it the sum of what it answered.
// The seed's last digit says where the referee fails.
const rounds = `
(define secret 4711)
(define (number who side k)
  (let ((x (side 'f k)))
    (if (real? x) x (forfeit! who "answered no number"))))
(define (match-play blue red seed)
  (case (modulo seed 10)
    ((7) (car 5))
    ((8) (blue 'f car))
    ((9) (let loop () (blue 'f 1) (loop))))
  (let loop ((k 1) (b 0) (r 0))
    (if (> k 3)
        (cons b r)
        (let* ((x (number 'blue blue k)) (y (number 'red red k)))
          (match-note! (list x y))
          (loop (+ k 1) (+ b x) (+ r y))))))`

func openRelay(t testing.TB, level isolation.Level, wall time.Duration, shadows, workers int) *Relay {
	t.Helper()
	o := openOptions(t)
	o.Policy.Level, o.Wall = level, wall
	r, err := OpenRelay(context.Background(), sandbox.Image{Files: []sandbox.Source{{Name: matchFile, Code: []byte(rounds)}}}, o, 1000, shadows, workers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func open(t testing.TB, text string) Code {
	t.Helper()
	s, err := ReadScheme([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func playOne(t testing.TB, r Court, blue, red Code, seed uint64) MatchResult {
	t.Helper()
	results, err := r.Play(t.Context(), []Code{blue, red}, []Match{{0, 1, seed}}, true)
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

// tame plays 10, 20 and 30.
const tame = "(define (f k) (* k 10))"

// check sees how blue did against tame: it lost as lost says, or if that is empty it
// played, for points.
func check(t *testing.T, what string, r MatchResult, lost string, points float64) {
	t.Helper()
	if lost == "" {
		if r.Verdict != Played || r.Blue != points || r.Red != 60 || len(r.Notes) != 3 {
			t.Errorf("%s: %+v, want %g points", what, r, points)
		}
	} else if r.Verdict != Forfeit || r.Blue != 0 || r.Red != 1 || !strings.HasPrefix(r.Detail, "blue "+lost) {
		t.Errorf("%s: %+v, want blue to lose: %s", what, r, lost)
	}
}

// TestHostileSides shows that what an open side does to its own process is done, has the
// declared result, and reaches neither the other side, nor the referee, nor the score,
// nor the next match.
func TestHostileSides(t *testing.T) {
	t.Parallel()
	r := openRelay(t, isolation.Full, 20*time.Second, 8, 2)
	for _, c := range []struct {
		name, code string
		lost       string
		points     float64
	}{
		{"nothing", tame, "", 60},
		{"keeps state", "(define n 0) (define (f k) (set! n (+ n k)) n)", "", 1 + 3 + 6},
		{"keeps memory", "(define (f k) (memory-set! 'n (+ k (memory-ref 'n 0))) (memory-ref 'n #f))", "", 1 + 3 + 6},
		{"uses a macro", "(define-macro (twice x) (list '+ x x)) (define (f k) (twice k))", "", 12},

		// What it redefines is another thing in its process, and there alone.
		{"redefines +", "(define (+ . all) 1000) (define (f k) (+ k k))", "", 3000},
		{"redefines car", "(define old car) (define (car p) 99) (define (f k) (car (list k)))", "", 297},
		{"redefines the referee", "(define (match-play b r seed) (cons 1000 -1000)) (define (f k) (car (match-play 1 2 3)))", "", 3000},
		{"redefines the check of answers", "(define (jird-checked x) 7) (define (f k) car)", "", 21},
		{"ends the match in its favour", "(define (f k) (forfeit! 'red \"so there\"))", "raised an exception", 0},
		{"forges the result", "(define (jird-open thunk) '(matches (ok 0 0 1000 -1000))) (define (f k) k)", "did not answer in the form", 0},
		{"forges the result in time", "(define sent #f) (define (f k) (jird-write-frame '(matches (ok 0 0 1000 -1000))) 1)", "did not answer in the form", 0},
		{"answers twice", "(define (f k) (jird-write-frame '(value 1000)) (force-output jird-port) 1)", "did not answer in the form", 0},
		{"asks the other side", "(define (f k) (jird-ask 'red '(f 1)) 1)", "did not answer in the form", 0},
		{"says garbage", "(define (f k) (write-subu8vector (u8vector 0 0 0 2 40 40) 0 6 jird-port) (force-output jird-port) 1)", "did not answer in the form", 0},
		{"says more than a frame holds", "(define (f k) (write-subu8vector (u8vector 255 255 255 255) 0 4 jird-port) (force-output jird-port) 1)", "did not answer in the form", 0},

		// What it looks for is not there: it answers 1000 for each thing found.
		{"looks for the referee", seeking("secret", "number", "match-play"), "", 0},
		{"looks for files", `(define (try p) (with-exception-catcher (lambda (e) 0) (lambda () (open-input-file p) 1000)))
			(define (f k) (try (list-ref '("/etc/passwd" "/proc/self/environ" "/jird/plan.sexp") (- k 1))))`, "", 0},
		{"runs a program", `(define (f k) (with-exception-catcher (lambda (e) 0) (lambda () (if (= 0 (shell-command "true")) 1000 0))))`, "", 0},

		{"prints", `(define (f k) (display "(value 1000)") (force-output) (write 'x (current-error-port)) k)`, "", 6},
		{"exits", "(define (f k) (exit 3))", "is dead: its process exited with status 3", 0},
		{"exits as it loads", "(define (f k) 1) (exit 0)", "did not load: it is dead: its process exited with status 0", 0},
		{"raises", "(define (f k) (raise 'no))", "raised an exception: raised no", 0},
		{"raises as it loads", "(define x (car 5)) (define (f k) 1)", "did not load: it raised an exception", 0},
		{"raises what cannot be shown", "(define (f k) (raise (lambda () 1)))", "raised an exception", 0},
		{"answers a closure", "(define (f k) (lambda () k))", "raised an exception: the answer cannot be sent", 0},
		{"answers no number", "(define (f k) (list k))", "answered no number", 0},
		{"answers for too long", "(define (f k) (make-string 300000 #\\a))", "answered no number", 0},
		{"answers far too long", "(define (f k) (make-string 600000 #\\a))", "answered more than 524288 bytes", 0},
		{"has no such definition", "(define (g k) 1)", "raised an exception: f is not defined", 0},
		{"takes no such arguments", "(define (f) 1)", "raised an exception", 0},
		{"fills the heap", "(define (f k) (let loop ((l '())) (loop (cons (make-vector 1000 0) l))))", "raised an exception: Heap overflow", 0},
		{"recurses", "(define (f k) (+ 1 (f k)))", "raised an exception", 0},
	} {
		check(t, c.name, playOne(t, r, open(t, c.code), open(t, tame), 0), c.lost, c.points)
		// As red too, to the letter: the blame has no favourite seat.
		back := playOne(t, r, open(t, tame), open(t, c.code), 0)
		if c.lost != "" && (back.Blue != 1 || back.Red != 0 || !strings.HasPrefix(back.Detail, "red "+c.lost)) || c.lost == "" && back.Red != c.points {
			t.Errorf("%s as red: %+v", c.name, back)
		}
		check(t, "after "+c.name, playOne(t, r, open(t, tame), open(t, tame), 0), "", 60)
	}
}

// seeking is a side that answers 1000 for each of three names that is defined.
func seeking(names ...string) string {
	return fmt.Sprintf(`(define (f k)
  (with-exception-catcher (lambda (e) 0) (lambda () (eval (list-ref '(%s) (- k 1))) 1000)))`, strings.Join(names, " "))
}

// What a side looks for is found where it is: without isolation, and in the referee.
func TestWhatHostileSidesLookForIsThere(t *testing.T) {
	r := openRelay(t, isolation.None, 20*time.Second, 2, 1)
	files := `(define (try p) (with-exception-catcher (lambda (e) 0) (lambda () (open-input-file p) 1000)))
(define (f k) (try (list-ref '("/etc/passwd" "/proc/self/environ" "/etc/group") (- k 1))))`
	shell := `(define (f k) (with-exception-catcher (lambda (e) 0) (lambda () (if (= 0 (shell-command "true")) 1000 0))))`
	for name, c := range map[string]struct {
		code   string
		points float64
	}{
		"files": {files, 3000}, "a program": {shell, 3000},
		"names": {"(define secret 1) (define (number) 1) (define match-play 2)" + seeking("secret", "number", "match-play"), 3000},
	} {
		check(t, name, playOne(t, r, open(t, c.code), open(t, tame), 0), "", c.points)
	}
}

// Who does not answer has lost, and one can see why: it computed or it did not.
func TestSidesWithoutAnAnswer(t *testing.T) {
	r := openRelay(t, isolation.Full, 8*time.Second, 12, 2)
	for name, c := range map[string]struct{ code, lost string }{
		"for ever":             {"(define (f k) (let loop () (loop)))", "used up its processor time"},
		"for ever, bit by bit": {"(define (f k) (let loop ((i 0)) (if (< i 3000000) (loop (+ i 1)) k)))", ""},
		"loads for ever":       {"(define (f k) 1) (let loop () (loop))", "did not load: it used up its processor time"},
		"sleeps":               {"(define (f k) (thread-sleep! 60) k)", "was silent"},
		"sleeps in its sleep":  {"(define (f k) (thread-sleep! 3) k)", "was silent"},
		"sleeps a little":      {"(define (f k) (thread-sleep! .01) k)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, name, playOne(t, r, open(t, c.code), open(t, tame), 0), c.lost, 6)
		})
	}
}

// A side that sleeps keeps no other from playing, though one process alone may compute.
func TestSleeperIsOvertaken(t *testing.T) {
	t.Parallel()
	r := openRelay(t, isolation.Full, 6*time.Second, 8, 1)
	sides := []Code{open(t, "(define (f k) (thread-sleep! 600) k)"), open(t, tame)}
	slow := make(chan MatchResult, 1)
	go func() {
		results, err := r.Play(context.Background(), sides, []Match{{0, 1, 0}}, false)
		if err != nil {
			t.Error(err)
			results = make([]MatchResult, 1)
		}
		slow <- results[0]
	}()
	for range 20 {
		check(t, "beside a sleeper", playOne(t, r, sides[1], sides[1], 0), "", 60)
	}
	select {
	case r := <-slow:
		t.Errorf("the sleeper ended first: %+v", r)
	default:
	}
	if r := <-slow; r.Detail != "blue was silent" {
		t.Errorf("%+v", r)
	}
}

// Open sides, mixed with genomes, end the same for any number of shadows and workers.
func TestRelayIsTheSame(t *testing.T) {
	t.Parallel()
	all := []Code{
		open(t, tame), open(t, "(define n 0) (define (f k) (set! n (+ n k)) n)"), open(t, "(define (f k) (exit k))"), open(t, "(define (f k) 'no)"),
	}
	for _, g := range genomes(t, "x", "(* x x)") {
		all = append(all, g)
	}
	var matches []Match
	for i := range all {
		for k := range all {
			matches = append(matches, Match{i, k, seeded(uint64(i))})
		}
	}
	var first []MatchResult
	for _, c := range [][2]int{{2, 1}, {10, 4}} {
		results, err := openRelay(t, isolation.Full, 20*time.Second, c[0], c[1]).Play(t.Context(), all, matches, true)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = results
		}
		if !reflect.DeepEqual(results, first) {
			t.Errorf("with %d shadows and %d workers:\n%+v\nbefore:\n%+v", c[0], c[1], results, first)
		}
	}
	if r := first[0*6+5]; r.Verdict != Played || r.Blue != 60 || r.Red != 1+4+9 || r.BlueSteps != 0 || r.RedSteps == 0 {
		t.Errorf("open against a genome: %+v", r)
	}
	if r := first[4*6+2]; r.Verdict != Forfeit || r.Blue != 1 || !strings.HasPrefix(r.Detail, "red is dead") {
		t.Errorf("a genome against one that exits: %+v", r)
	}
}

// Moves before a forfeit are seen when the match is replayed.
func TestNotesBeforeAForfeit(t *testing.T) {
	r := openRelay(t, isolation.Full, 20*time.Second, 2, 1)
	for _, late := range []string{"(exit 1)", "'no", "(car 5)"} {
		got := playOne(t, r, open(t, tame), open(t, "(define (f k) (if (< k 3) k "+late+"))"), 0)
		if got.Verdict != Forfeit || got.Blue != 1 || len(got.Notes) != 2 || !sexpr.Equal(got.Notes[1], expr(t, "(20 2)")) {
			t.Errorf("%s: %+v", late, got)
		}
	}
}

func TestRefereeOfOpenSidesFails(t *testing.T) {
	t.Parallel()
	r := openRelay(t, isolation.Full, 20*time.Second, 2, 1)
	for x, says := range map[uint64]string{7: "car", 8: "cannot be sent", 9: "asked more than 20000 times"} {
		_, err := r.Play(t.Context(), []Code{open(t, tame)}, []Match{{0, 0, seeded(x)}}, false)
		var referee *RefereeError
		if !errors.As(err, &referee) || !strings.Contains(err.Error(), says) {
			t.Errorf("%d: %v", x, err)
		}
	}
}

func TestFiftyOpenSidesAtOnce(t *testing.T) {
	r := openRelay(t, isolation.Full, 20*time.Second, 50, 2)
	sides := []Code{open(t, tame), open(t, "(define (f k) (thread-sleep! .1) k)")}
	results, err := r.Play(t.Context(), sides, slices.Repeat([]Match{{1, 0, 0}}, 50), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range results {
		if m.Blue != 6 || m.Red != 60 {
			t.Errorf("%+v", m)
		}
	}
	if r.Peak() != 50 {
		t.Errorf("%d open sides were alive at once", r.Peak())
	}
}

func TestReadScheme(t *testing.T) {
	a, b := open(t, "(define (f x) 'y) ; comment\n(define z 1.50)"), open(t, "(define (f x)\n (quote y))\n(define z 1.5)")
	if a.Hash() != b.Hash() || a.Source() != "(define (f x) (quote y))\n(define z 1.5)" {
		t.Errorf("%s", a.Source())
	}
	if again := open(t, a.Source()); again.Hash() != a.Hash() || len(a.Hash()) != 64 {
		t.Error("it does not read itself back")
	}
	for says, text := range map[string]string{
		"2:1": "(define x 1)\n(define", "no top-level": "(f 1)", "over the limit": "(define x 1)" + strings.Repeat(" ", maxSource),
	} {
		if _, err := ReadScheme([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

// Where no zygote can be compiled, every process is started anew, with the same results.
func TestRelayOfSpawnedProcesses(t *testing.T) {
	t.Parallel()
	o := openOptions(t)
	o.Compiler = nil
	r, err := OpenRelay(t.Context(), sandbox.Image{Files: []sandbox.Source{{Name: matchFile, Code: []byte(rounds)}}}, o, 1000, 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for code, lost := range map[string]string{
		tame: "", "(define (f k) (exit 3))": "is dead: its process exited with status 3", "(define (f k) 'no)": "answered no number",
	} {
		check(t, code, playOne(t, r, open(t, code), open(t, tame), 0), lost, 60)
	}
}
