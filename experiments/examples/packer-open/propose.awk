# propose.awk: a proposer in a few lines. It reads one request, draws one of the ideas
# below by the request's seed, and answers with a definition that replaces one of the
# parent's; see `jird help proposers`.

{ request = request $0 }

function number_of(key,    at) {
  at = match(request, "\"" key "\": *[0-9]+")
  return at ? substr(request, RSTART + length(key) + 3, RLENGTH - length(key) - 3) : ""
}

function pick(n) { return int(rand() * n) }

END {
  seed = number_of("seed")
  srand(substr(seed, length(seed) > 9 ? length(seed) - 8 : 1) + 0)
  for (i = 0; i < 10; i++) rand()                 # the first of near seeds are alike
  again = request ~ /"refused":/ ? 1 : 0          # what was refused was drawn by this seed
  for (i = 0; i <= 7 * again; i++) idea = pick(9)
  a = 1 + pick(9); b = pick(40)
  if (idea == 0)
    code = "(define (order items) (if (or (null? items) (null? (cdr items))) items (let ((first (car items))) (let loop ((rest (cdr items)) (low '()) (high '())) (cond ((null? rest) (append (order high) (list first) (order low))) ((> (car rest) first) (loop (cdr rest) low (cons (car rest) high))) (else (loop (cdr rest) (cons (car rest) low) high)))))))"
  else if (idea == 1)
    code = "(define (order items) (reverse items))"
  else if (idea == 2)
    code = "(define (choose bins item) (let loop ((bins bins) (best #f)) (cond ((null? bins) best) ((< (caar bins) item) (loop (cdr bins) best)) ((or (not best) (> (value (- (caar bins) item) item) (value (- (car best) item) item))) (loop (cdr bins) (car bins))) (else (loop (cdr bins) best)))))"
  else if (idea == 3)
    code = "(define (value left item) (- left))"
  else if (idea == 4)
    code = "(define (value left item) (if (< left " b ") " a " (- left)))"
  else if (idea == 5)
    code = "(define (value left item) (if (= left 0) 1000 (if (>= left " (15 + b) ") (- " b " left) (- (* " a " left)))))"
  else if (idea == 6)
    code = "(define (choose bins item) (cond ((null? bins) #f) ((<= item (caar bins)) (car bins)) (else (choose (cdr bins) item))))"
  else if (idea == 7)
    code = "(define (value left item) (- (abs (- left " b "))))"
  else
    code = "(define (value left item) (- (* left left) (* " a " item)))"
  printf "{\"definition\": \"%s\", \"note\": \"idea %d\"}\n", code, idea
}
