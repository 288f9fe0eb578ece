;; policy.scm: the evolvable part of the packer. Defines priority.
;;
;; (priority ITEM REMAINING) -> how much ITEM should go into an open bin with
;; REMAINING capacity left; the highest answer wins. This is best fit: the
;; tightest bin first.

(define (priority item remaining)
  (- item remaining))
