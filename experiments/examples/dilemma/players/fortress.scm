;; fortress.scm: a player that is a table of states (Fortress3, Ashlock 2006). It defects
;; until the other has shown the password, two defections in a row, then cooperates as long
;; as the other does. (STATE THEIR-LAST) -> (STATE MOVE).

(define table
  '(((1 #t) 1 #f) ((1 #f) 2 #f)
    ((2 #t) 1 #f) ((2 #f) 3 #t)
    ((3 #t) 3 #t) ((3 #f) 1 #f)))

(define state 1)

(define (move round mine theirs . rest)
  (if (= round 0)
      #f
      (let ((next (cdr (assoc (list state theirs) table))))
        (set! state (car next))
        (cadr next))))
