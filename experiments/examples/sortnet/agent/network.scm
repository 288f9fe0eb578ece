;; network.scm: the evolvable part of the sorter. Defines network.
;;
;; (network) -> ((I J) ...): comparators, in order; each puts the smaller of wires I and J
;; on I. This is bubble sort.

(define (network)
  '((0 1) (1 2) (2 3) (3 4) (4 5) (5 6) (6 7)
    (0 1) (1 2) (2 3) (3 4) (4 5) (5 6) (0 1)
    (1 2) (2 3) (3 4) (4 5) (0 1) (1 2) (2 3)
    (3 4) (0 1) (1 2) (2 3) (0 1) (1 2) (0 1)))
