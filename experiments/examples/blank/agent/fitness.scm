;; fitness.scm: the referee, which is never evolved. Defines fitness-cases and fitness-score.
;;
;; Here a case is an x from -5 to 5, and the policy is asked for x^2 + x. Replace both by a
;; task of your own: nothing else knows what it is.

;; (fitness-cases RECIPE COUNT SEED) -> list of (NAME . CASE). The same seed must give the
;; same cases.
(define (fitness-cases recipe count seed)
  (let ((random (make-random seed)))
    (let loop ((i count) (cases '()))
      (if (= i 0)
          cases
          (loop (- i 1)
                (cons (cons (string-append "x-" (number->string i))
                            (/ (- (random-below! random 10001) 5000) 1000.))
                      cases))))))

;; (fitness-score CASE) -> a number, lower is better.
(define (fitness-score x)
  (abs (- (answer x) (+ (* x x) x))))
