;; gradual.scm: Gradual (Beaufils, Delahaye, Mathieu 1997). The n-th time that it is
;; defected it defects n times, then cooperates twice, whatever the other does meanwhile.

(define defections 0)               ; the other's, in all
(define plan '())                   ; moves that are fixed already

(define (times n move rest)
  (if (= n 0) rest (cons move (times (- n 1) move rest))))

(define (move round mine theirs . rest)
  (if (and (> round 0) (not theirs)) (set! defections (+ defections 1)))
  (if (and (> round 0) (not theirs) (null? plan))
      (set! plan (times defections #f '(#t #t))))
  (if (null? plan)
      #t
      (let ((next (car plan)))
        (set! plan (cdr plan))
        next)))
