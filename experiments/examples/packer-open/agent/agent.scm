;; agent.scm: a packing service. Defines agent-handle.
;;
;; Requests: (pack CAPACITY ITEMS) -> a list of bins, each a list of items

(define (agent-handle request)
  (if (and (pair? request) (eq? (car request) 'pack) (pair? (cdr request)) (pair? (cddr request)))
      (pack (cadr request) (caddr request))
      (list 'error "requests are (pack CAPACITY ITEMS)")))
