;; fitness.scm: the referee of open code. Defines transcript-cases, transcript-requests and
;; transcript-score.
;;
;; A case is (CAPACITY ITEM ...). Its score is the excess over the L1 bound, as for the
;; packer: (bins - L1) / L1 with L1 = ceil(sum / capacity). An answer that is no packing of
;; the items counts as two bins for each of them, which is worse than any packing.

(define capacity 150)
(define how-many 60)

(define (transcript-cases cases seed)
  (let ((generator (make-random seed)))
    (let loop ((i 1) (found '()))
      (if (> i cases)
          (reverse found)
          (loop (+ i 1)
                (cons (cons (string-append "u60-" (number->string i))
                            (cons capacity (draw generator how-many)))
                      found))))))

(define (draw generator n)
  (if (= n 0) '() (cons (+ 20 (random-below! generator 81)) (draw generator (- n 1)))))

(define (transcript-requests case)
  (list (list 'pack (car case) (cdr case))))

(define (transcript-score case answers)
  (let* ((items (cdr case))
         (bound (quotient (+ (apply + items) (- (car case) 1)) (car case)))
         (answer (car answers))
         (bins (and (eq? (car answer) 'ok) (packing? (car case) items (cadr answer)) (length (cadr answer)))))
    (list (cons (- (or bins (* 2 (length items))) bound) bound)
          (cons 'triples (if bins (triples (cadr answer)) 0)))))

;; What the archive keeps apart: the share of bins with three items or more.
(define (triples bins)
  (if (null? bins)
      0
      (exact->inexact (/ (length (filter-long bins)) (length bins)))))

(define (filter-long bins)
  (cond ((null? bins) '())
        ((and (pair? (car bins)) (pair? (cdar bins)) (pair? (cddar bins))) (cons (car bins) (filter-long (cdr bins))))
        (else (filter-long (cdr bins)))))

(define (packing? capacity items bins)
  (and (list? bins)
       (let loop ((bins bins) (left items))
         (cond ((null? bins) (null? left))
               ((not (and (list? (car bins)) (pair? (car bins)))) #f)
               (else
                (let ((rest (take-all (car bins) left)))
                  (and rest (<= (apply + (car bins)) capacity) (loop (cdr bins) rest))))))))

;; LEFT without the items of BIN, or #f if one is not among them.
(define (take-all bin left)
  (if (null? bin)
      left
      (let ((rest (take-one (car bin) left)))
        (and rest (take-all (cdr bin) rest)))))

(define (take-one item left)
  (cond ((null? left) #f)
        ((eqv? item (car left)) (cdr left))
        (else (let ((rest (take-one item (cdr left)))) (and rest (cons (car left) rest))))))
