;; memory-code.scm: how the notes are kept. Defines recall, keep! and note-key; the
;; part that the agent may propose to replace.

(define (note-key key) key)

(define (recall key) (memory-ref (list 'note (note-key key)) #f))

(define (keep! key value) (memory-set! (list 'note (note-key key)) value))
