;; agent.scm: a register for the crash tests. Defines agent-handle.
;;
;; Requests: (put KEY VALUE) -> ok             two places are written: both or neither
;;           (get KEY)       -> (VALUE VALUE)
;;           (add KEY N)     -> the sum
;;           (sum KEY)       -> the sum
;;           (version)       -> which version of the code answers

(define register-version 'one)

;; A version of the tests has a harm here.
(define (before-request request) #t)

(define (agent-handle request)
  (before-request request)
  (case (car request)
    ((put)
     (memory-set! (list 'first (cadr request)) (caddr request))
     (memory-set! (list 'second (cadr request)) (caddr request))
     'ok)
    ((get)
     (list (memory-ref (list 'first (cadr request)) 0)
           (memory-ref (list 'second (cadr request)) 0)))
    ((add)
     (memory-set! (cadr request) (+ (caddr request) (memory-ref (cadr request) 0)))
     (memory-ref (cadr request) 0))
    ((sum) (memory-ref (cadr request) 0))
    ((version) register-version)
    (else (list 'error "requests are put, get, add, sum and version"))))
