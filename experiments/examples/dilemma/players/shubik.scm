;; shubik.scm: Shubik's entry to Axelrod's first tournament. It answers a defection that
;; met its own cooperation by defecting once, the next one twice, and so on.

(define punishments 0)              ; how many there were: each is longer by one
(define left 0)                     ; turns of this one

(define (move round mine theirs . rest)
  (if (and (> round 0) (= left 0) mine (not theirs))
      (begin
        (set! punishments (+ punishments 1))
        (set! left punishments)))
  (if (> left 0)
      (begin (set! left (- left 1)) #f)
      #t))
