;; width.scm: how many wires the networks have, and the comparators that come before
;; those that are evolved. Defines wires and given.
;;
;; Given are the first 32 comparators of Green's network of 60 (Knuth, The Art of Computer
;; Programming 3, 5.3.4), as Hillis gave them to his.

(define wires 16)
(define given
  '((0 1) (2 3) (4 5) (6 7) (8 9) (10 11) (12 13) (14 15)
    (0 2) (1 3) (4 6) (5 7) (8 10) (9 11) (12 14) (13 15)
    (0 4) (1 5) (2 6) (3 7) (8 12) (9 13) (10 14) (11 15)
    (0 8) (1 9) (2 10) (3 11) (4 12) (5 13) (6 14) (7 15)))
