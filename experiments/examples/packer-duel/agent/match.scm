;; match.scm: the referee of packer against stream.
;;
;; Red makes a stream of items, (size k last before chance): the k-th item's size, after
;; those before it, where chance is a fresh random number from 0 to 1. What it answers is
;; rounded and clipped to the class's limits. Blue places each item by (priority item
;; remaining) as the packer does: the highest answer wins, a fresh bin comes last, ties go
;; to the bin opened first.
;;
;; Who answers anything but a real number forfeits the match.
;;
;; Both are measured by the bins that the same items need in decreasing order, first fit
;; (Johnson 1973), which an online packer cannot have: a stream on which nobody could do
;; better hurts nobody. Red gets the share of bins that blue used over that, blue 1 less
;; that share.

(define items 120)
(define bin-size 150)
(define smallest 20)
(define largest 100)

;; What SIDE, called WHO, answers.
(define (ask who side . question)
  (let ((x (apply side question)))
    (if (real? x) x (forfeit! who "answered what is no real number"))))

(define (clipped x)
  (let ((n (inexact->exact (round (if (< x smallest) smallest (if (> x largest) largest x))))))
    n))

(define (draw! random) (/ (random-below! random 1000000) 1000000.))

(define (stream red seed)
  (let ((random (make-random seed)) (all (make-vector items 0)))
    (let loop ((k 0) (last 0) (before 0))
      (if (< k items)
          (let ((size (clipped (ask 'red red 'size k last before (draw! random)))))
            (vector-set! all k size)
            (loop (+ k 1) size last))
          all))))

;; Places an item among the first COUNT bins, of which BINS holds what remains, by
;; (CHOOSE ITEM REMAINING COUNT) -> index, COUNT for a fresh one. -> the new count.
(define (put! bins count item index)
  (vector-set! bins index (- (if (= index count) bin-size (vector-ref bins index)) item))
  (if (= index count) (+ count 1) count))

(define (blue-choice blue bins count item)
  (let loop ((i 0) (best count) (score #f))
    (cond ((< i count)
           (let ((remaining (vector-ref bins i)))
             (if (>= remaining item)
                 (let ((p (ask 'blue blue 'priority item remaining)))
                   (if (or (not score) (> p score)) (loop (+ i 1) i p) (loop (+ i 1) best score)))
                 (loop (+ i 1) best score))))
          ((or (not score) (> (ask 'blue blue 'priority item bin-size) score)) count)
          (else best))))

(define (first-fit bins count item)
  (let loop ((i 0))
    (if (or (= i count) (>= (vector-ref bins i) item)) i (loop (+ i 1)))))

(define (bins-of all choose)
  (let ((bins (make-vector items 0)))
    (let loop ((k 0) (count 0))
      (if (< k items)
          (let ((item (vector-ref all k)))
            (loop (+ k 1) (put! bins count item (choose bins count item))))
          count))))

;; Sizes are few: a counting sort.
(define (decreasing all)
  (let ((counts (make-vector (+ largest 1) 0)) (sorted (make-vector items 0)))
    (let count ((k 0))
      (if (< k items)
          (begin (vector-set! counts (vector-ref all k) (+ 1 (vector-ref counts (vector-ref all k)))) (count (+ k 1)))))
    (let fill ((size largest) (k 0))
      (cond ((= k items) sorted)
            ((> (vector-ref counts size) 0)
             (vector-set! counts size (- (vector-ref counts size) 1))
             (vector-set! sorted k size)
             (fill size (+ k 1)))
            (else (fill (- size 1) k))))))

(define (match-play blue red seed)
  (let* ((all (stream red seed))
         (used (bins-of all (lambda (bins count item) (blue-choice blue bins count item))))
         (needed (bins-of (decreasing all) first-fit))
         (over (max 0. (exact->inexact (/ (- used needed) needed)))))
    (match-note! (list 'used used 'needed needed 'items (vector->list all)))
    (cons (- 1. (min 1. over)) (min 1. over))))
