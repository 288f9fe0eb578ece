;; agent.scm: a live player of the iterated prisoner's dilemma.
;;
;; (agent-handle '(play NAME THEIR-LAST)) -> C or D, where THEIR-LAST is what NAME played
;; last, C or D, or start. (agent-handle '(score)) -> matches begun.

(define (cooperated? x) (not (eq? x 'D)))

(define (agent-handle request)
  (case (car request)
    ((play) (play (cadr request) (caddr request)))
    ((score) (memory-ref 'matches 0))
    (else (error "not a request" request))))

;; Of each opponent: (ROUND MINE THEIRS MINE-BEFORE THEIRS-BEFORE THEIRS-THIRD MY-DEFECTIONS THEIR-DEFECTIONS RECENT).
(define (play name theirs)
  (if (eq? theirs 'start) (memory-set! 'matches (+ 1 (memory-ref 'matches 0))))
  (let* ((fresh '(0 #t #t #t #t #t 0 0 ()))
         (m (if (eq? theirs 'start) fresh (seen (memory-ref name fresh) (cooperated? theirs))))
         (mine (move (car m) (list-ref m 1) (list-ref m 2) (list-ref m 3) (list-ref m 4) (list-ref m 5)
                     (list-ref m 6) (list-ref m 7) (count-true (list-ref m 8)) 0.5)))
    (memory-set! name (cons (car m) (cons mine (cddr m))))
    (if mine 'C 'D)))

(define (count-true l) (if (pair? l) (+ (if (car l) 1 0) (count-true (cdr l))) 0))

(define (first-ten l n)
  (if (and (pair? l) (> n 0)) (cons (car l) (first-ten (cdr l) (- n 1))) '()))

;; The memory of an opponent after a turn in which it played THEIRS, and the agent what
;; stands as MINE.
(define (seen m theirs)
  (let ((mine (list-ref m 1)))
    (list (+ 1 (car m)) mine theirs (list-ref m 1) (list-ref m 2) (list-ref m 4)
          (+ (list-ref m 6) (if mine 0 1)) (+ (list-ref m 7) (if theirs 0 1))
          (cons theirs (first-ten (list-ref m 8) 9)))))
