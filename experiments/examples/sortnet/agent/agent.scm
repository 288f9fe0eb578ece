;; agent.scm: a service that sorts by the network. Defines agent-handle.
;;
;; Requests: (sort NUMBER ...) -> the numbers in rising order, as many as there are wires
;;           (cost)            -> how many comparators it takes

(define (sorted numbers)
  (let ((file (list->vector numbers)))
    (for-each
     (lambda (comparator)
       (let* ((i (car comparator)) (j (cadr comparator)) (a (vector-ref file i)) (b (vector-ref file j)))
         (if (< b a)
             (begin (vector-set! file i b) (vector-set! file j a)))))
     (append given (network)))
    (vector->list file)))

(define (real-numbers? list)
  (or (null? list) (and (real? (car list)) (real-numbers? (cdr list)))))

(define (agent-handle request)
  (cond ((and (list? request) (= (length request) (+ wires 1)) (eq? (car request) 'sort)
              (real-numbers? (cdr request)))
         (sorted (cdr request)))
        ((equal? request '(cost)) (+ (length given) (length (network))))
        (else (list 'error "requests are (cost) and (sort NUMBER ...), of numbers as many as wires:" wires))))
