;; prelude.scm: the trusted code that every agent process starts with.
;;
;; For agents:   memory-ref memory-set! memory-delete! checkpoint! propose!
;; For referees: make-random random-below! policy-map! match-note! forfeit!
;; In files:     policy! (as jird writes it when a genome was promoted)
;; For jird:     jird-main (called once, by boot.scm)
;;
;; Written in the subset that Gambit and Gerbil share. Plain Gambit; it is
;; compiled by gsc where there is a C compiler and loaded as source elsewhere.

(##declare (standard-bindings) (extended-bindings))

;; ---------------------------------------------------------------------------
;; Faults that end an evaluation. They are unique objects so that no agent can
;; raise one by accident.

(define jird-out-of-fuel (list 'out-of-fuel))

(define (jird-exhausted? e)
  (or (heap-overflow-exception? e) (stack-overflow-exception? e)))

(define (jird-fail . parts)
  (raise (apply string-append parts)))

(define (jird-show datum)
  (let ((port (open-output-string)))
    (write datum port)
    (get-output-string port)))

;; A raised object as text for people: a few lines, for Gerbil adds a backtrace.
(define (jird-explain e)
  (if (string? e)
      e
      (let ((port (open-output-string)))
        (with-exception-catcher
         (lambda (again) (display "an exception that cannot be shown" port))
         (lambda ()
           (if (or (symbol? e) (number? e) (pair? e))
               (begin (display "raised " port) (write e port))
               (display-exception e port))))
        (jird-cut (get-output-string port) 400))))

(define (jird-cut text limit)
  (let loop ((end (string-length text)))
    (cond ((> end limit) (loop limit))
          ((and (> end 0) (char=? (string-ref text (- end 1)) #\newline)) (loop (- end 1)))
          (else (substring text 0 end)))))

;; ---------------------------------------------------------------------------
;; Random numbers for referees: splitmix64 (Steele, Lea, Flood 2014) on exact
;; integers, so the same seed gives the same cases on every processor.

(define (jird-mix64 z)
  (let* ((mask 18446744073709551615)
         (z (bitwise-and mask (* (bitwise-xor z (arithmetic-shift z -30)) 13787848793156543929)))
         (z (bitwise-and mask (* (bitwise-xor z (arithmetic-shift z -27)) 10723151780598845931))))
    (bitwise-xor z (arithmetic-shift z -31))))

;; (make-random SEED) -> generator; SEED is an exact integer of any size.
(define (make-random seed)
  (vector (bitwise-and 18446744073709551615 seed)))

;; (random-below! GENERATOR N) -> exact integer from 0 to N-1. N at most 2^32:
;; the bias of the multiplication is then below 2^-32.
(define (random-below! generator n)
  (let ((state (bitwise-and 18446744073709551615
                            (+ (vector-ref generator 0) 11400714819323198485))))
    (vector-set! generator 0 state)
    (arithmetic-shift (* n (jird-mix64 state)) -64)))

;; ---------------------------------------------------------------------------
;; Durable memory, as the agent sees it. A call writes into an overlay, and the
;; overlay is the write-set that goes out with the reply. Memory itself changes
;; only by whole write-sets, and only in a process of the live agent.

(define jird-memory (make-table test: equal?))
(define jird-overlay #f)            ; #f outside a call
(define jird-effects '())           ; write-set of the call, newest first
(define jird-deleted (list 'deleted))

(define (memory-ref key default)
  (let ((value (if jird-overlay (table-ref jird-overlay key jird-memory) jird-memory)))
    (cond ((eq? value jird-memory) (table-ref jird-memory key default))
          ((eq? value jird-deleted) default)
          (else value))))

(define (jird-effect! effect)
  (if (not jird-overlay)
      (jird-fail (symbol->string (car effect)) " outside a call: only agent-handle may change memory"))
  (set! jird-effects (cons effect jird-effects)))

(define (memory-set! key value)
  (jird-effect! (list 'memory-set! key value))
  (table-set! jird-overlay key value))

(define (memory-delete! key)
  (jird-effect! (list 'memory-delete! key))
  (table-set! jird-overlay key jird-deleted))

(define (checkpoint! tag) (jird-effect! (list 'checkpoint! tag)))
(define (propose! name expr) (jird-effect! (list 'propose! name expr)))

;; Runs THUNK against a fresh overlay.
(define (jird-call thunk) (jird-call-over '() thunk))

;; Runs THUNK against an overlay that starts with the effects BEFORE, which are not
;; the call's own.
(define (jird-call-over before thunk)
  (set! jird-overlay (make-table test: equal?))
  (for-each (lambda (effect) (jird-change! jird-overlay effect)) before)
  (set! jird-effects '())
  (let ((value (thunk)))
    (set! jird-overlay #f)
    value))

;; Makes one effect's change in TABLE. -> whether it was a change of memory.
(define (jird-change! table effect)
  (case (car effect)
    ((memory-set!) (table-set! table (cadr effect) (caddr effect)) #t)
    ((memory-delete!)
     (if (eq? table jird-memory)
         (table-set! table (cadr effect))
         (table-set! table (cadr effect) jird-deleted))
     #t)
    (else #f)))

;; How many write-sets jird-memory holds: every process of the live agent counts
;; alike, so one that missed a write-set is seen before it answers.
(define jird-sets 0)

(define (jird-commit! effects)
  (let loop ((rest effects) (changed #f))
    (if (pair? rest)
        (loop (cdr rest) (or (jird-change! jird-memory (car rest)) changed))
        (if changed (set! jird-sets (+ jird-sets 1))))))

;; ---------------------------------------------------------------------------
;; Grammar policies. A body is compiled to a straight line of register
;; operations, each over many lanes at once: (policy-map! ...) measures one
;; policy on many inputs for one dispatch per operation. All primitives are
;; total on finite flonums, so a policy can neither raise nor loop, and its cost
;; is its node count.

(define jird-fuel 0)                ; steps left
(define jird-policies (make-table test: eq?)) ; name -> program

(define (jird-charge! steps)
  (set! jird-fuel (- jird-fuel steps))
  (if (< jird-fuel 0) (raise jird-out-of-fuel)))

;; A program is a vector: 0 name, 1 arity, 2 registers (count), 3 constants as
;; (register . flonum), 4 operations as procedures of (file lanes stride),
;; 5 result register, 6 steps, 7 register file or #f, 8 its stride. That of a list,
;; which is data, has no operations, and at 5 the list.
(define (jird-compile name params body)
  (let ((registers (length params))
        (constants '())
        (operations '())
        (steps 0)
        (numbered (make-table test: equal?))) ; value numbering: equal subtrees share a register
    (define (new! key)
      (let ((r registers))
        (set! registers (+ r 1))
        (table-set! numbered key r)
        r))
    (define (constant! value)
      (or (table-ref numbered value #f)
          (let ((r (new! value)))
            (set! constants (cons (cons r value) constants))
            r)))
    (define (operation! op args)
      (let ((key (cons op args)))
        (or (table-ref numbered key #f)
            (let ((r (new! key)))
              (set! operations (cons (jird-operation name op args r) operations))
              r))))
    (define (walk x)
      (set! steps (+ steps 1))
      (cond ((real? x) (constant! (exact->inexact x)))
            ((boolean? x) (constant! (if x 1. 0.)))
            ((symbol? x)
             (or (table-ref numbered x #f)
                 (jird-fail (symbol->string name) ": unknown variable " (symbol->string x))))
            ((pair? x) (let ((args (map walk (cdr x)))) (operation! (car x) args)))
            (else (jird-fail (symbol->string name) ": not an expression: " (jird-show x)))))
    (let loop ((rest params) (r 0))
      (if (pair? rest)
          (begin (table-set! numbered (car rest) r) (loop (cdr rest) (+ r 1)))))
    (let ((result (walk body)))
      (vector name (length params) registers constants
              (list->vector (reverse operations)) result steps #f 0))))

;; (over-lanes ((A RA) ...) EXPR): a procedure that sets register RESULT to EXPR
;; in every lane, with A standing for register RA's value in the lane.
(define-macro (over-lanes operands expr)
  (let ((from (lambda (v) (string->symbol (string-append "from-" (symbol->string v))))))
    `(lambda (file lanes stride)
       (##declare (not safe) (not interrupts-enabled))
       (let ((to (##fx* result stride))
             ,@(map (lambda (o) `(,(from (car o)) (##fx* ,(cadr o) stride))) operands))
         (let lane ((k 0))
           (if (##fx< k lanes)
               (begin
                 (##f64vector-set!
                  file (##fx+ to k)
                  (let ,(map (lambda (o) `(,(car o) (##f64vector-ref file (##fx+ ,(from (car o)) k))))
                             operands)
                    ,expr))
                 (lane (##fx+ k 1)))))))))

;; Results that leave the finite range are clamped, so no NaN can arise.
(define-macro (clamped expr)
  `(let ((v ,expr))
     (if (##fl< v 1e300) (if (##fl< -1e300 v) v -1e300) 1e300)))

(define-macro (truth expr) `(if ,expr 1. 0.))

(define (jird-operation name op args result)
  (let* ((n (length args))
         (ra (if (> n 0) (car args) 0))
         (rb (if (> n 1) (cadr args) 0))
         (rc (if (> n 2) (caddr args) 0)))
    (define (takes wanted operation)
      (if (= n wanted)
          operation
          (jird-fail (symbol->string name) ": " (symbol->string op) " takes "
                     (number->string wanted) " arguments")))
    (case op
      ((+) (takes 2 (over-lanes ((a ra) (b rb)) (clamped (##fl+ a b)))))
      ((-) (takes 2 (over-lanes ((a ra) (b rb)) (clamped (##fl- a b)))))
      ((*) (takes 2 (over-lanes ((a ra) (b rb)) (clamped (##fl* a b)))))
      ((/) (takes 2 (over-lanes ((a ra) (b rb)) (if (##fl= b 0.) 1. (clamped (##fl/ a b))))))
      ((min) (takes 2 (over-lanes ((a ra) (b rb)) (if (##fl< b a) b a))))
      ((max) (takes 2 (over-lanes ((a ra) (b rb)) (if (##fl< a b) b a))))
      ((sqrt) (takes 1 (over-lanes ((a ra)) (##flsqrt (##flabs a)))))
      ((abs) (takes 1 (over-lanes ((a ra)) (##flabs a))))
      ((if) (takes 3 (over-lanes ((a ra) (b rb) (c rc)) (if (##fl= a 0.) c b))))
      ((<) (takes 2 (over-lanes ((a ra) (b rb)) (truth (##fl< a b)))))
      ((<=) (takes 2 (over-lanes ((a ra) (b rb)) (if (##fl< b a) 0. 1.))))
      ((>) (takes 2 (over-lanes ((a ra) (b rb)) (truth (##fl< b a)))))
      ((>=) (takes 2 (over-lanes ((a ra) (b rb)) (if (##fl< a b) 0. 1.))))
      ((=) (takes 2 (over-lanes ((a ra) (b rb)) (truth (##fl= a b)))))
      ((and) (takes 2 (over-lanes ((a ra) (b rb)) (if (##fl= a 0.) 0. b))))
      ((or) (takes 2 (over-lanes ((a ra) (b rb)) (if (##fl= a 0.) b a))))
      ((not) (takes 1 (over-lanes ((a ra)) (truth (##fl= a 0.)))))
      (else (jird-fail (symbol->string name) ": " (symbol->string op)
                       " is not a primitive of the grammar")))))

;; The program's register file with room for LANES, constants filled in.
(define (jird-file program lanes)
  (if (or (not (vector-ref program 7)) (< (vector-ref program 8) lanes))
      (let* ((stride (max lanes 4))
             (file (make-f64vector (* stride (vector-ref program 2)) 0.)))
        (for-each (lambda (c)
                    (jird-fill! file (* stride (car c)) stride (cdr c)))
                  (vector-ref program 3))
        (vector-set! program 7 file)
        (vector-set! program 8 stride)))
  (vector-ref program 7))

(define (jird-fill! file from count value)
  (let loop ((k 0))
    (if (< k count)
        (begin (f64vector-set! file (+ from k) value) (loop (+ k 1))))))

(define (jird-copy! file from count source)
  (let loop ((k 0))
    (if (< k count)
        (begin (f64vector-set! file (+ from k) (f64vector-ref source k)) (loop (+ k 1))))))

(define (jird-run! program file lanes)
  (let ((operations (vector-ref program 4)) (stride (vector-ref program 8)))
    (jird-charge! (* lanes (vector-ref program 6)))
    (let loop ((i 0))
      (if (< i (vector-length operations))
          (begin ((vector-ref operations i) file lanes stride) (loop (+ i 1)))))))

;; An input of a policy as a finite flonum; a truth value is 1 or 0, as (truth ...) makes it.
(define (jird-input x)
  (let ((v (cond ((real? x) (exact->inexact x))
                 ((boolean? x) (if x 1. 0.))
                 (else (jird-fail "a policy was given " (jird-show x) ", which is neither a real number nor a truth value")))))
    (cond ((not (= v v)) (jird-fail "a policy was given NaN"))
          ((> v 1e300) 1e300)
          ((< v -1e300) -1e300)
          (else v))))

;; (policy-map! NAME OUT N INPUT ...): sets the first N elements of the
;; f64vector OUT to the policy's answers. An INPUT is a real number, the same in
;; every lane, or an f64vector of at least N finite elements. Equal to calling
;; NAME N times, and several times faster.
(define (policy-map! name out n . inputs)
  (let ((program (table-ref jird-policies name #f)))
    (if (not program)
        (jird-fail "policy-map!: " (symbol->string name) " is not an evolved definition"))
    (if (not (= (length inputs) (vector-ref program 1)))
        (jird-fail "policy-map!: " (symbol->string name) " takes "
                   (number->string (vector-ref program 1)) " inputs"))
    (let* ((file (jird-file program n)) (stride (vector-ref program 8)))
      (let loop ((rest inputs) (at 0))
        (if (pair? rest)
            (begin
              (if (f64vector? (car rest))
                  (jird-copy! file at n (car rest))
                  (jird-fill! file at n (jird-input (car rest))))
              (loop (cdr rest) (+ at stride)))))
      (jird-run! program file n)
      (let ((from (* stride (vector-ref program 5))))
        (let loop ((k 0))
          (if (< k n)
              (begin (f64vector-set! out k (f64vector-ref file (+ from k))) (loop (+ k 1)))))))))

;; One call of a policy: the answer as a flonum, a boolean or a list, which nobody
;; may change.
(define (jird-apply program kind args)
  (if (not (= (length args) (vector-ref program 1)))
      (jird-fail (symbol->string (vector-ref program 0)) " takes "
                 (number->string (vector-ref program 1)) " arguments, not "
                 (number->string (length args))))
  (if (eq? kind 'list)
      (begin (jird-charge! (vector-ref program 6)) (vector-ref program 5))
      (jird-apply-expression program kind args)))

(define (jird-apply-expression program kind args)
  (let* ((file (jird-file program 1)) (stride (vector-ref program 8)))
    (let loop ((rest args) (at 0))
      (if (pair? rest)
          (begin (f64vector-set! file at (jird-input (car rest)))
                 (loop (cdr rest) (+ at stride)))))
    (jird-run! program file 1)
    (let ((answer (f64vector-ref file (* stride (vector-ref program 5)))))
      (if (eq? kind 'bool) (not (= answer 0.)) answer))))

;; DEFINITION is (KIND (define (NAME PARAM ...) BODY)), of a list (list (define (NAME) '(ITEM ...))).
(define (jird-program definition)
  (let ((head (cadr (cadr definition))) (body (caddr (cadr definition))))
    (if (eq? (car definition) 'list)
        (let ((items (cadr body)))
          (vector (car head) 0 0 '() (vector) items (max 1 (length items)) #f 0))
        (jird-compile (car head) (cdr head) body))))

;; DEFINITION is as jird-program takes it. The agent's global NAME
;; becomes the policy.
(define (jird-install! definition)
  (let* ((kind (car definition))
         (program (jird-program definition))
         (name (vector-ref program 0)))
    (table-set! jird-policies name program)
    (jird-define! name (lambda args (jird-apply program kind args)))))

;; (policy! 'KIND '(define (NAME PARAM ...) BODY)): in a file of an agent, a policy
;; that means here what it meant when it was scored: flonums, total primitives.
(define (policy! kind definition)
  (jird-install! (list kind definition)))

(define (jird-define! name value)
  (##global-var-set! (##make-global-var name) value))

(define (jird-global name) (##global-var-ref (##make-global-var name)))

(define (jird-lookup name)
  (let ((value (jird-global name)))
    (if (procedure? value)
        value
        (jird-fail (symbol->string name) " is not defined as a procedure"))))

;; ---------------------------------------------------------------------------
;; Scoring, when policies are grammar policies: the referee runs right here.

(define jird-cases (vector))        ; of (name . case)

(define (jird-finite? x)
  (and (real? x) (let ((v (exact->inexact x))) (and (< v 1e300) (< -1e300 v)))))

(define (jird-ratio answer)
  (cond ((and (pair? answer) (jird-finite? (car answer)) (jird-finite? (cdr answer)) (> (cdr answer) 0))
         answer)
        ((and (not (pair? answer)) (jird-finite? answer)) (cons answer 1))
        (else (jird-fail "fitness-score answered " (jird-cut (jird-show answer) 80)
                         "; it must be a finite real number, or a pair of two with the second above zero"))))

;; What fitness-score answered, as jird reads it: (NUM . DEN), or ((NUM . DEN) (FEATURE . X) ...).
(define (jird-scored answer)
  (if (and (pair? answer) (list? answer))
      (cons (jird-ratio (car answer)) (map jird-feature (cdr answer)))
      (jird-ratio answer)))

(define (jird-feature feature)
  (if (and (pair? feature) (symbol? (car feature)) (jird-finite? (cdr feature)))
      (cons (car feature) (exact->inexact (cdr feature)))
      (jird-fail "fitness-score reported " (jird-cut (jird-show feature) 80)
                 "; what follows a score must be (NAME . NUMBER), the number finite")))

;; Cases FROM to TO-1 under the definitions, FUEL steps for each. -> (ok STEPS SCORE ...),
;; (fuel STEPS), (memory MESSAGE) or (referee MESSAGE).
(define (jird-score fuel from to definitions)
  (with-exception-catcher
   (lambda (e)
     (set! jird-overlay #f)
     (cond ((eq? e jird-out-of-fuel) (list 'fuel fuel))
           ((jird-exhausted? e)
            (list 'memory (jird-explain e)))
           (else (list 'referee (jird-explain e)))))
   (lambda ()
     (for-each jird-install! definitions)
     (let loop ((i from) (scores '()) (steps 0))
       (if (< i to)
           (let ((case (cdr (vector-ref jird-cases i))))
             (set! jird-fuel fuel)
             (let ((score (jird-scored (jird-call (lambda () ((jird-lookup 'fitness-score) case))))))
               (loop (+ i 1) (cons score scores) (+ steps (- fuel jird-fuel)))))
           (cons 'ok (cons steps (reverse scores))))))))

(define (jird-check-cases cases)
  (if (not (and (list? cases) (pair? cases)))
      (jird-fail "fitness-cases must answer a list of at least one (name . case)"))
  (for-each (lambda (c)
              (if (not (and (pair? c) (string? (car c))))
                  (jird-fail "fitness-cases must answer (name . case) pairs with a string as name, not "
                             (jird-cut (jird-show c) 80))))
            cases)
  (list->vector cases))

;; ---------------------------------------------------------------------------
;; Matches. The referee runs right here, and with it the sides that are grammar policies.
;; An open side lives in a process of its own; jird carries what it is asked and answers.

(define jird-mover #f)              ; the side that computes, for the blame
(define jird-notes #f)              ; of the match, newest first; #f when nobody asks
(define jird-forfeited (list 'forfeited))

;; (match-note! DATUM): what a person who has the match replayed will see.
(define (match-note! datum)
  (if jird-notes (set! jird-notes (cons (jird-checked datum) jird-notes))))

(define (jird-noted) (if jird-notes (reverse jird-notes) '()))

;; (forfeit! SIDE REASON): ends the match, which SIDE, blue or red, has lost by a move
;; against the rules.
(define (forfeit! side reason)
  (if (not (memq side '(blue red)))
      (jird-fail "forfeit! was told " (jird-cut (jird-show side) 80) "; who forfeits is 'blue or 'red"))
  (raise (list jird-forfeited side (jird-cut (if (string? reason) reason (jird-show reason)) 400))))

(define (jird-forfeit? e)
  (and (pair? e) (eq? (car e) jird-forfeited)))

;; What plays for a side: 'open, or (NAME KIND . PROGRAM) of each of its DEFINITIONS.
(define (jird-programs definitions)
  (if (eq? definitions 'open)
      'open
      (map (lambda (definition)
             (let ((program (jird-program definition)))
               (cons (vector-ref program 0) (cons (car definition) program))))
           definitions)))

;; A side as the referee sees it: (SIDE NAME ARG ...) is what its definition NAME answers.
;; (SIDE) is how many of its FUEL steps it has used; an open side counts none.
(define (jird-side who programs fuel)
  (if (eq? programs 'open)
      (lambda call (if (null? call) 0 (jird-ask who call)))
      (jird-policy-side who programs fuel)))

(define (jird-policy-side who programs fuel)
  (let ((left fuel))
    (lambda call
      (if (null? call)
          (- fuel left)
          (let ((program (assq (car call) programs)))
            (if (not program)
                (jird-fail "match-play asked " (symbol->string who) " for " (jird-show (car call))
                           ", which is not one of its definitions"))
            (set! jird-mover who)
            (set! jird-fuel left)
            (let ((answer (jird-apply (cddr program) (cadr program) (cdr call))))
              (set! left jird-fuel)
              answer))))))

;; Asks by jird, which says (answer VALUE), or (ended REASON) when the side has lost by what
;; became of it.
(define (jird-ask who call)
  (if (not (and (symbol? (car call)) (jird-datum? (cdr call))))
      (jird-fail "match-play asked " (symbol->string who) " " (jird-cut (jird-show call) 80)
                 ", which cannot be sent"))
  (jird-write-frame (cons 'ask (cons who call)))
  (let ((frame (jird-read-frame)))
    (if (eq? (car frame) 'answer)
        (cadr frame)
        (forfeit! who (cadr frame)))))

(define (jird-points answer)
  (if (and (pair? answer) (jird-finite? (car answer)) (jird-finite? (cdr answer)))
      answer
      (jird-fail "match-play answered " (jird-cut (jird-show answer) 80)
                 "; it must be a pair of two finite real numbers, the points of blue and of red")))

;; One match, each side with FUEL steps. -> (ok STEPS STEPS POINTS POINTS NOTE ...) of blue and red,
;; (fuel SIDE), (forfeit SIDE REASON NOTE ...), (memory MESSAGE) or (referee MESSAGE).
(define (jird-match fuel note? blue red seed)
  (with-exception-catcher
   (lambda (e)
     (set! jird-overlay #f)
     (cond ((eq? e jird-out-of-fuel) (list 'fuel jird-mover))
           ((jird-forfeit? e) (append (list 'forfeit (cadr e) (caddr e)) (jird-noted)))
           ((jird-exhausted? e) (list 'memory (jird-explain e)))
           (else (list 'referee (jird-explain e)))))
   (lambda ()
     (set! jird-notes (if note? '() #f))
     (let* ((blue (jird-side 'blue blue fuel))
            (red (jird-side 'red red fuel))
            (points (jird-points (jird-call (lambda () ((jird-lookup 'match-play) blue red seed))))))
       (cons 'ok (cons (blue) (cons (red) (cons (car points) (cons (cdr points) (jird-noted))))))))))

;; ---------------------------------------------------------------------------
;; Frames on descriptor 3: 4 bytes of length, big-endian, then one datum.

(define jird-frame-limit 16777216)
(define jird-port #f)

(define (jird-open-port!)
  (set! jird-port (##open-predefined 3 '(jird) 3)))

(define (jird-read-frame)
  (let ((head (make-u8vector 4 0)))
    (if (< (read-subu8vector head 0 4 jird-port) 4)
        #!eof
        (let* ((size (+ (* 16777216 (u8vector-ref head 0)) (* 65536 (u8vector-ref head 1))
                        (* 256 (u8vector-ref head 2)) (u8vector-ref head 3)))
               (body (make-u8vector (if (> size jird-frame-limit) (jird-fail "frame too large") size) 0)))
          (if (< (read-subu8vector body 0 size jird-port) size)
              #!eof
              (read (open-input-u8vector (list init: body char-encoding: 'UTF-8))))))))

(define (jird-write-frame datum)
  (let* ((out (open-output-u8vector (list char-encoding: 'UTF-8)))
         (body (begin (write datum out) (force-output out) (get-output-u8vector out)))
         (size (u8vector-length body)))
    (if (> size jird-frame-limit)
        (jird-fail "an answer of " (number->string size) " bytes is over the limit of "
                   (number->string jird-frame-limit)))
    (write-u8 (modulo (quotient size 16777216) 256) jird-port)
    (write-u8 (modulo (quotient size 65536) 256) jird-port)
    (write-u8 (modulo (quotient size 256) 256) jird-port)
    (write-u8 (modulo size 256) jird-port)
    (write-subu8vector body 0 size jird-port)
    (force-output jird-port)))

;; ---------------------------------------------------------------------------
;; What a shadow answers.

;; What can cross the wire: a value that jird's reader knows.
(define (jird-datum? x)
  (cond ((pair? x) (and (jird-datum? (car x)) (jird-datum? (cdr x))))
        ((vector? x) (jird-datum? (vector->list x)))
        ((number? x)
         (or (and (integer? x) (exact? x))
             (and (real? x) (inexact? x) (= x x) (< (abs x) 1.8e308))))
        (else (or (null? x) (boolean? x) (symbol? x) (string? x) (char? x) (keyword? x)
                  (u8vector? x)))))

(define (jird-checked x)
  (if (jird-datum? x)
      x
      (jird-fail "the answer cannot be sent: " (jird-cut (jird-show x) 80))))

(define (jird-handle before request on-exhaustion)
  (with-exception-catcher
   (lambda (e)
     (set! jird-overlay #f)
     (if (jird-exhausted? e) (on-exhaustion))
     (list 'raised (jird-explain e)))
   (lambda ()
     (set! jird-fuel 1000000000000)
     (let ((reply (jird-call-over before (lambda () ((jird-lookup 'agent-handle) request)))))
       (list 'reply (jird-checked reply) (jird-checked (reverse jird-effects)))))))

;; A live process that ran out of memory ends: the next one starts with a heap that
;; nothing has been left in.
(define (jird-give-up)
  (display "out of memory" (current-error-port))
  (force-output (current-error-port))
  (exit 71))

;; One call of the live agent: as jird-handle, and with COMMIT the write-set becomes
;; part of memory. A process that does not hold SETS write-sets answers how many it
;; holds, and does nothing.
(define (jird-live sets commit before request)
  (if (not (= sets jird-sets))
      (list 'behind jird-sets)
      (begin
        (set! jird-begun (+ jird-begun 1))
        (jird-count! 1 jird-begun)
        (let ((answer (jird-handle before request jird-give-up)))
          (if (and commit (eq? (car answer) 'reply)) (jird-commit! (caddr answer)))
          (jird-count! 2 jird-begun)
          (jird-count! 3 jird-sets)
          answer))))

;; What a live process counts in the page that it shares with jird: 0 its heartbeat,
;; 1 calls begun, 2 calls done, 3 write-sets held. Without a zygote there is no page.
(define jird-begun 0)
(define (jird-count! at value) #f)

;; Takes in what other processes of the live agent did.
(define (jird-apply! from to effects)
  (if (not (= from jird-sets))
      (list 'behind jird-sets)
      (begin
        (for-each (lambda (effect) (jird-change! jird-memory effect)) effects)
        (set! jird-sets to)
        (list 'applied to))))

;; Whether the agent finds itself in order: its own (agent-invariant), if it has one.
(define (jird-invariant)
  (with-exception-catcher
   (lambda (e) (list 'broken (jird-explain e)))
   (lambda ()
     (let ((check (jird-global 'agent-invariant)))
       (if (and (procedure? check) (not (jird-call check)))
           (list 'broken "agent-invariant answered #f")
           (list 'sound))))))

(define (jird-eval expr)
  (with-exception-catcher
   (lambda (e) (list 'raised (jird-explain e)))
   (lambda () (list 'value (jird-checked (eval expr))))))

;; An open side of a match: forms are loaded once, then its procedures are asked. Its
;; memory is its own, and lasts as long as its process.
(define (jird-open thunk)
  (with-exception-catcher
   (lambda (e) (list 'raised (jird-explain e)))
   (lambda ()
     (if (not jird-overlay) (set! jird-overlay (make-table test: equal?)))
     (set! jird-effects '())
     (list 'value (jird-checked (thunk))))))

(define (jird-answer request)
  (case (car request)
    ((score)                        ; (score FUEL FROM TO (DEFINITION ...) ...)
     (cons 'scores
           (map (lambda (definitions)
                  (jird-score (cadr request) (caddr request) (cadddr request) definitions))
                (cddddr request))))
    ((match)                        ; (match FUEL NOTES? (SIDE ...) (BLUE RED SEED) ...), sides by number
     (let ((sides (list->vector (map jird-programs (cadddr request)))))
       (cons 'matches
             (map (lambda (m)
                    (jird-match (cadr request) (caddr request) (vector-ref sides (car m))
                                (vector-ref sides (cadr m)) (caddr m)))
                  (cddddr request)))))
    ((call) (jird-handle '() (cadr request) (lambda () #f)))
    ((live)                         ; (live SETS COMMIT BEFORE REQUEST)
     (jird-live (cadr request) (caddr request) (cadddr request) (car (cddddr request))))
    ((apply) (jird-apply! (cadr request) (caddr request) (cadddr request)))
    ((invariant) (jird-invariant))
    ((eval) (jird-eval (cadr request)))
    ((load)                         ; (load FORM ...), one after the other: a macro serves the next
     (jird-open (lambda () (for-each eval (cdr request)) #t)))
    ((ask)                          ; (ask NAME ARG ...)
     (jird-open (lambda () (apply (jird-lookup (cadr request)) (cddr request)))))
    (else (list 'raised (string-append "unknown request " (jird-cut (jird-show (car request)) 80))))))

(define (jird-serve)
  (let ((request (jird-read-frame)))
    (if (not (eof-object? request))
        (begin
          (with-exception-catcher
           (lambda (e) (jird-write-frame (list 'raised (jird-explain e))))
           (lambda () (jird-write-frame (jird-answer request))))
          (force-output (current-output-port))
          (jird-serve)))))

;; ---------------------------------------------------------------------------
;; Boot. The plan is an association list that jird writes; see sandbox/image.go.

(define (jird-plan-ref plan key default)
  (let ((entry (assq key plan)))
    (if entry (cdr entry) default)))

(define jird-step "boot")           ; what is being done, for the failure's message

(define (jird-step! name)
  (set! jird-step name)
  (jird-write-frame (list 'loading name))) ; should it never end, jird knows where

(define (jird-remember! entries)
  (for-each (lambda (entry) (table-set! jird-memory (car entry) (cdr entry))) entries))

;; Memory that was not known when the process was started: frames (more ENTRY ...),
;; then (sets N).
(define (jird-receive-memory!)
  (let ((frame (jird-read-frame)))
    (if (eq? (car frame) 'more)
        (begin (jird-remember! (cdr frame)) (jird-receive-memory!))
        (set! jird-sets (cadr frame)))))

(define (jird-boot! plan)
  (jird-remember! (jird-plan-ref plan 'memory '()))
  (set! jird-sets (jird-plan-ref plan 'sets 0))
  (if (jird-plan-ref plan 'later #f) (jird-receive-memory!))
  (for-each jird-install! (jird-plan-ref plan 'definitions '()))
  (for-each (lambda (file)          ; (NAME . PATH)
              (jird-step! (car file))
              (load (cdr file)))
            (jird-plan-ref plan 'files '()))
  (let ((recipe (jird-plan-ref plan 'recipe #f))
        (given (jird-plan-ref plan 'given #f)))
    (jird-step! "fitness-cases")
    (set! jird-fuel 1000000000000)
    (if recipe                      ; (SEED COUNT . RECIPE)
        (set! jird-cases
              (jird-check-cases ((jird-lookup 'fitness-cases) (cddr recipe) (cadr recipe) (car recipe)))))
    (if given (set! jird-cases (jird-check-cases given)))))

;; Never returns. The process says (loading STEP) as it goes on, answers (ready 1 VERSION CASE-NAMES) or (failed STEP
;; MESSAGE), then serves: a zygote by forking shadows, of which each says hello,
;; any other process by itself.
(define (jird-main path)
  (jird-open-port!)
  (let* ((plan (call-with-input-file (list path: path char-encoding: 'UTF-8) read))
         (zygote (jird-plan-ref plan 'zygote #f))
         (ready (with-exception-catcher
                 (lambda (e) (list 'failed jird-step (jird-explain e)))
                 (lambda ()
                   (if zygote ((jird-lookup 'jird-zygote-configure!) zygote))
                   (jird-boot! plan)
                   (list 'ready 1 (system-version-string)
                         (map car (vector->list jird-cases)))))))
    (##gc)                          ; once here, not in every shadow
    (jird-write-frame ready)
    (if (eq? (car ready) 'ready)
        (begin
          (jird-write-frame (if zygote
                                ((jird-lookup 'jird-zygote-loop))
                                (list 'hello 1 0 0)))
          (jird-serve)))
    (exit 0)))
