;; agent.scm: a live placement service. Defines agent-handle.
;;
;; Requests: (place SIZE) -> the number of the bin that took it, from 0
;;           (bins)       -> the remaining capacities, by bin
;;
;; Memory:   bins          -> how many bins were opened
;;           (bin NUMBER)  -> what remains in that bin

(define bin-capacity 150)

(define (bin-remaining number)
  (memory-ref (list 'bin number) bin-capacity))

;; The bin for an item: the highest priority among the bins that have room and a
;; fresh one, which comes last; of equals the one that was opened first.
(define (choose-bin size)
  (let ((fresh (memory-ref 'bins 0)))
    (let loop ((number 0) (best #f) (highest #f))
      (if (> number fresh)
          best
          (let* ((remaining (bin-remaining number))
                 (value (and (<= size remaining) (priority size remaining))))
            (if (and value (or (not best) (> value highest)))
                (loop (+ number 1) number value)
                (loop (+ number 1) best highest)))))))

(define (place size)
  (let ((number (choose-bin size)))
    (if (= number (memory-ref 'bins 0))
        (memory-set! 'bins (+ number 1)))
    (memory-set! (list 'bin number) (- (bin-remaining number) size))
    number))

(define (list-bins)
  (let loop ((number (- (memory-ref 'bins 0) 1)) (found '()))
    (if (< number 0)
        found
        (loop (- number 1) (cons (bin-remaining number) found)))))

(define (agent-handle request)
  (cond ((and (pair? request) (eq? (car request) 'place) (pair? (cdr request))
              (integer? (cadr request)) (exact? (cadr request))
              (<= 1 (cadr request) bin-capacity))
         (place (cadr request)))
        ((equal? request '(bins)) (list-bins))
        (else (list 'error "requests are (place SIZE), SIZE from 1 to 150, and (bins)"))))
