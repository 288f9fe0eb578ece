;; agent.scm: what is served. Defines agent-handle.
;;
;; (agent-handle REQUEST) -> an answer, any datum. What must survive a crash goes through
;; memory-ref and memory-set!.
;;
;;   (ask X)   -> what the policy answers
;;   (asked)   -> how often it was asked

(define (agent-handle request)
  (cond ((and (pair? request) (eq? (car request) 'ask) (pair? (cdr request)) (real? (cadr request)))
         (memory-set! 'asked (+ 1 (memory-ref 'asked 0)))
         (answer (exact->inexact (cadr request))))
        ((equal? request '(asked)) (memory-ref 'asked 0))
        (else '(error "requests are (ask X) and (asked)"))))
