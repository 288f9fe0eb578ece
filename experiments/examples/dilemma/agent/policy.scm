;; policy.scm: how the live player moves. This is tit for tat.

(define (move round mine theirs mine-before theirs-before theirs-third my-defections their-defections their-recent chance)
  theirs)
