;; contrite.scm: contrite tit for tat (Boyd 1989; Wu and Axelrod 1995). Who defects without
;; having been provoked is in bad standing until it cooperates; a defection by one in good
;; standing against one in bad standing is justified and is not answered.

(define my-good #t)
(define their-good #t)

(define (stand! mine theirs)
  (let ((me (or mine (and my-good (not their-good))))
        (them (or theirs (and their-good (not my-good)))))
    (set! my-good me)
    (set! their-good them)))

(define (move round mine theirs . rest)
  (if (> round 0) (stand! mine theirs))
  (or (not my-good) their-good))
