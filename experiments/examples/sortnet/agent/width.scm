;; width.scm: how many wires the networks have, and the comparators that come before
;; those that are evolved. Defines wires and given.

(define wires 8)
(define given '())
