;; policy.scm: all of it is evolved. Defines pack.
;;
;; (pack CAPACITY ITEMS) -> a list of bins, each a list of the items in it. This is next
;; fit: what does not fit into the bin at hand opens a new one.

(define (order items) items)            ; in which the items are packed

(define (value left item) left)         ; of a bin with LEFT room after ITEM; the highest gets it

(define (choose bins item)              ; bins are (LEFT ITEM ...), the newest first
  (if (and (pair? bins) (<= item (caar bins))) (car bins) #f))

(define (put bins old item)
  (if (eq? (car bins) old)
      (cons (cons (- (car old) item) (cons item (cdr old))) (cdr bins))
      (cons (car bins) (put (cdr bins) old item))))

(define (pack capacity items)
  (let loop ((items (order items)) (bins '()))
    (if (null? items)
        (map cdr bins)
        (let ((bin (choose bins (car items))))
          (loop (cdr items)
                (if bin
                    (put bins bin (car items))
                    (cons (list (- capacity (car items)) (car items)) bins)))))))
