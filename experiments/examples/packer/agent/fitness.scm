;; fitness.scm: the packer's referee. Defines fitness-cases and fitness-score.
;;
;; A case is a stream of items for online bin packing, as an association list:
;; ((capacity . C) (items . #(SIZE ...))). Its score is the excess over the L1
;; bound: (bins - L1) / L1 with L1 = ceil(sum / capacity); 0 is perfect.

;; Car and + mean what they always do: compiled code need not look each time.
(##declare (standard-bindings) (extended-bindings))

;; (fitness-cases RECIPE COUNT SEED) -> list of (NAME . CASE). Recipes:
;;   class u        sizes uniform from low to high (OR-Library's "u" class,
;;                  Falkenauer 1996: 20 to 100, capacity 150)
;;   class weibull  Weibull, shape 3, scale 45, rounded, clipped to 1..100
;;                  (Castineiras, De Cauwer, O'Sullivan 2012; capacity 100)
(define (fitness-cases recipe count seed)
  (let* ((generator (make-random seed))
         (class (recipe-ref recipe 'class))
         (capacity (recipe-ref recipe 'capacity))
         (items (recipe-ref recipe 'items))
         (draw! (cond ((equal? class "u")
                       (let* ((low (recipe-ref recipe 'low))
                              (span (+ 1 (- (recipe-ref recipe 'high) low))))
                         (lambda () (+ low (random-below! generator span)))))
                      ((equal? class "weibull")
                       (lambda () (weibull-size (random-below! generator 1073741824))))
                      (else (error "recipe: class must be u or weibull, not" class)))))
    (let loop ((i 1) (cases '()))
      (if (> i count)
          (reverse cases)
          (loop (+ i 1)
                (cons (cons (string-append class (number->string items) "-" (number->string i))
                            (list (cons 'capacity capacity)
                                  (cons 'items (draw-items draw! items))))
                      cases))))))

(define (recipe-ref recipe key)
  (let ((entry (assq key recipe)))
    (if entry (cdr entry) (error "recipe: missing key" key))))

(define (draw-items draw! count)
  (let ((items (make-vector count 0)))
    (let loop ((i 0))
      (if (< i count)
          (begin (vector-set! items i (draw!)) (loop (+ i 1)))
          items))))

;; The distribution function at 1.5, 2.5, ... 99.5 and 1, times 2^30: committed,
;; so that no processor's libm matters. F(x) = 1 - exp(-(x/45)^3).
(define weibull-table
  '#(
    39767 184096 505085 1073205 1958637 3231083 4959538 7212013 10055222
    13554221 17772016 22769131 28603149 35328227 42994588 51648009 61329283
    72073708 83910560 96862604 110945624 126167990 142530277 160024938 178636049
    198339125 219101023 240879941 263625509 287278993 311773596 337034879
    362981280 389524748 416571475 444022717 471775710 499724649 527761740
    555778281 583665789 611317123 638627608 665496126 691826170 717526821
    742513657 766709550 790045365 812460528 833903459 854331874 873712938
    892023277 909248856 925384713 940434579 954410381 967331639 979224794
    990122451 1000062586 1009087717 1017244055 1024580670 1031148667 1037000399
    1042188730 1046766347 1050785153 1054295716 1057346805 1059985007 1062254411
    1064196380 1065849388 1067248928 1068427480 1069414532 1070236652 1070917591
    1071478425 1071937715 1072311691 1072614434 1072858080 1073053004 1073208019
    1073330552 1073426820 1073501988 1073560315 1073605292 1073639754 1073665991
    1073685837 1073700750 1073711884 1073720141 1073741824
    ))

(define (weibull-size draw)
  (let loop ((low 0) (high 99))
    (if (= low high)
        (+ low 1)
        (let ((middle (quotient (+ low high) 2)))
          (if (< draw (vector-ref weibull-table middle))
              (loop low middle)
              (loop (+ middle 1) high))))))

;; (fitness-score CASE) -> (EXCESS . L1) in bins.
(define (fitness-score case)
  (let* ((capacity (recipe-ref case 'capacity))
         (items (checked-items capacity (recipe-ref case 'items)))
         (bins (if (<= capacity widest-table)
                   (pack-by-table capacity items)
                   (pack-by-bins capacity items)))
         (bound (lower-bound capacity items)))
    (cons (- bins bound) bound)))

;; The inner loop is compiled without checks, so they are made here.
(define (checked-items capacity items)
  (if (not (and (integer? capacity) (exact? capacity) (< 0 capacity)))
      (error "a case's capacity must be a positive integer, not" capacity))
  (if (not (and (vector? items) (< 0 (vector-length items))))
      (error "a case's items must be a vector of at least one size"))
  (let loop ((i 0))
    (if (< i (vector-length items))
        (let ((size (vector-ref items i)))
          (if (not (and (integer? size) (exact? size) (<= 1 size capacity)))
              (error "an item's size must be an integer from 1 to the capacity, not" size))
          (loop (+ i 1)))
        items)))

(define (lower-bound capacity items)
  (let loop ((i 0) (sum 0))
    (if (< i (vector-length items))
        (loop (+ i 1) (+ sum (vector-ref items i)))
        (quotient (+ sum (- capacity 1)) capacity))))

(define (smallest items)
  (let loop ((i 0) (least (vector-ref items 0)))
    (if (< i (vector-length items))
        (loop (+ i 1) (min least (vector-ref items i)))
        least)))

;; The two ways to pack give the same number of bins. In both the fresh bin comes
;; last, and of the highest priorities the bin that was opened first wins.

;; The policy sees only ITEM and REMAINING, so what it prefers is remembered for
;; as long as the policy is the same: for each item size the remaining capacities
;; it may go to, the best first.
(define widest-table 1000)
(define table-policy #f)
(define table-orders (vector))

(define (table-order! capacity item)
  (if (not (and (eq? table-policy priority) (= (vector-length table-orders) (+ capacity 1))))
      (begin (set! table-policy priority)
             (set! table-orders (make-vector (+ capacity 1) #f))))
  (or (vector-ref table-orders item)
      (let* ((width (+ 1 (- capacity item)))
             (remaining (make-f64vector width 0.))
             (row (make-f64vector width 0.))
             (order (make-vector (+ width 1) 0)))
        (let loop ((k 0))
          (if (< k width)
              (begin (f64vector-set! remaining k (exact->inexact (+ item k))) (loop (+ k 1)))))
        (policy-map! 'priority row width item remaining)
        (mark-ties! order row item (sort-row! order row item capacity))
        (vector-set! table-orders item order)
        order)))

;; Sorts what is no worse than a fresh bin into ORDER, then the fresh bin. The
;; better end of the row goes first: one that only rises or falls is sorted in one
;; pass. -> the index of the fresh bin.
(define (sort-row! order row item capacity)
  (##declare (not safe) (fixnum))
  (let* ((width (- capacity item))      ; the fresh bin's place in the row
         (falls (and (< 0 width) (##fl< (f64vector-ref row (- width 1)) (f64vector-ref row 0)))))
    (let loop ((k 0) (n 0))
      (if (= k width)
          (begin (vector-set! order n capacity) n)
          (let* ((at (if falls k (- width k 1))) (value (f64vector-ref row at)))
            (if (##fl< value (f64vector-ref row width))
                (loop (+ k 1) n)
                (let shift ((place n))
                  (if (and (< 0 place)
                           (##fl< (f64vector-ref row (- (vector-ref order (- place 1)) item))
                                  (f64vector-ref row at)))
                      (begin (vector-set! order place (vector-ref order (- place 1)))
                             (shift (- place 1)))
                      (begin (vector-set! order place (+ item at))
                             (loop (+ k 1) (+ n 1)))))))))))

;; Writes -1-R for an R as good as the one before it. A 0 ends the order.
(define (mark-ties! order row item fresh)
  (##declare (not safe) (fixnum))
  (vector-set! order (+ fresh 1) 0)
  (let loop ((k fresh))
    (if (< 0 k)
        (let ((r (vector-ref order k)))
          (if (##fl= (f64vector-ref row (- r item))
                     (f64vector-ref row (- (vector-ref order (- k 1)) item)))
              (vector-set! order k (- -1 r)))
          (loop (- k 1))))))

;; Bins that have the same capacity left have the same priority, so they stand in
;; one heap, and an item looks at heaps, not at bins: there are at most CAPACITY,
;; however many bins a policy leaves open. FIRST holds, for each remaining
;; capacity, the bin opened first (-1: none): the root of the heap. The one for
;; CAPACITY is the fresh bin, numbered above all others.
(define (pack-by-table capacity items)
  (let* ((count (vector-length items))
         (first (make-vector (+ capacity 1) -1))
         (left (make-vector count -1))
         (right (make-vector count -1)))
    (define (put! bin remaining)
      (vector-set! first remaining (meld! bin (vector-ref first remaining) left right)))
    (define (take! remaining)
      (let ((bin (vector-ref first remaining)))
        (vector-set! first remaining
                     (meld! (vector-ref left bin) (vector-ref right bin) left right))
        (vector-set! left bin -1)
        (vector-set! right bin -1)
        bin))
    (vector-set! first capacity count)
    (let loop ((i 0) (open 0))
      (if (= i count)
          open
          (let* ((item (vector-ref items i))
                 (from (best-heap (table-order! capacity item) first))
                 (fresh (= from capacity)))
            (put! (if fresh open (take! from)) (- from item))
            (loop (+ i 1) (if fresh (+ open 1) open)))))))

;; The remaining capacity of the bin that comes first: the first heap with one,
;; and of those as good as it the one with the bin opened first.
(define (best-heap order first)
  (##declare (not safe) (fixnum) (not interrupts-enabled))
  (let loop ((k 0))
    (let* ((mark (vector-ref order k)) (r (if (< mark 0) (- -1 mark) mark)))
      (if (< (vector-ref first r) 0)
          (loop (+ k 1))
          (let tie ((k (+ k 1)) (best r))
            (let ((mark (vector-ref order k)))
              (if (< mark 0)
                  (let* ((r (- -1 mark)) (bin (vector-ref first r)))
                    (tie (+ k 1) (if (and (<= 0 bin) (< bin (vector-ref first best))) r best)))
                  best)))))))

;; Two skew heaps (Sleator and Tarjan 1986) into one, smallest number at the root.
(define (meld! a b left right)
  (##declare (not safe) (fixnum))
  (cond ((< a 0) b)
        ((< b 0) a)
        ((< b a) (meld! b a left right))
        (else
         (let ((rest (vector-ref left a)))
           (vector-set! left a (meld! (vector-ref right a) b left right))
           (vector-set! right a rest)
           a))))

;; For capacities too wide for a table: the policy is asked about every open bin.
;; A bin too full for the stream's smallest item is dropped: it can never be
;; chosen.
(define (pack-by-bins capacity items)
  (let* ((count (vector-length items))
         (least (smallest items))
         (free (make-vector (+ count 1) capacity))
         (fitting (make-vector (+ count 1) 0))
         (remaining (make-f64vector (+ count 1) 0.))
         (value (make-f64vector (+ count 1) 0.)))
    (let loop ((i 0) (open 0) (dropped 0))
      (if (= i count)
          (+ open dropped)
          (let* ((item (vector-ref items i))
                 (n (gather! free open item fitting remaining)))
            (policy-map! 'priority value n item remaining)
            (settle! free (vector-ref fitting (first-highest value n)) item open least
                     (lambda (open gone) (loop (+ i 1) open (+ dropped gone)))))))))

(define (gather! free open item fitting remaining)
  (let loop ((k 0) (n 0))
    (cond ((> k open) n)
          ((>= (vector-ref free k) item)
           (vector-set! fitting n k)
           (f64vector-set! remaining n (exact->inexact (vector-ref free k)))
           (loop (+ k 1) (+ n 1)))
          (else (loop (+ k 1) n)))))

(define (first-highest value n)
  (let loop ((k 1) (best 0))
    (cond ((= k n) best)
          ((> (f64vector-ref value k) (f64vector-ref value best)) (loop (+ k 1) k))
          (else (loop (+ k 1) best)))))

;; Puts ITEM into bin AT and goes on with the number of open bins and whether
;; one was dropped.
(define (settle! free at item open least go-on)
  (let* ((capacity (vector-ref free open)) ; the fresh bin's
         (left (- (vector-ref free at) item))
         (open (if (= at open) (+ open 1) open)))
    (vector-set! free at left)
    (if (>= left least)
        (go-on open 0)
        (begin
          (let shift ((k at))
            (if (< k (- open 1))
                (begin (vector-set! free k (vector-ref free (+ k 1))) (shift (+ k 1)))))
          (vector-set! free (- open 1) capacity)
          (go-on (- open 1) 1)))))
