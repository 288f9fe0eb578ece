;; agent.scm: a keeper of notes that may rewrite itself. Defines agent-handle.
;;
;; Requests: (note KEY VALUE) -> done        remember VALUE under KEY
;;           (recall KEY)     -> the value, or #f
;;           (count)          -> how many notes there are
;;           (optimise)       -> proposed    the agent's idea of a faster memory
;;           (tidy)           -> proposed    its idea of a better one

(define (agent-handle request)
  (case (car request)
    ((note)
     (if (not (recall (cadr request)))
         (memory-set! 'count (+ 1 (memory-ref 'count 0))))
     (keep! (cadr request) (caddr request))
     'done)
    ((recall) (recall (cadr request)))
    ((count) (memory-ref 'count 0))
    ;; The bug of the story: it asks itself first, and never stops asking.
    ((optimise)
     (propose! 'recall '(lambda (key) (or (recall key) (memory-ref (list 'note key) #f))))
     'proposed)
    ;; An idea that holds: keys that differ only in their kind are one note.
    ((tidy)
     (propose! 'note-key '(lambda (key) (if (symbol? key) (symbol->string key) key)))
     'proposed)
    (else (list 'error "requests are (note KEY VALUE), (recall KEY), (count), (optimise) and (tidy)"))))

;; What it says of itself when it is asked whether all is in order.
(define (agent-invariant)
  (let ((count (memory-ref 'count 0)))
    (and (integer? count) (not (negative? count)))))
