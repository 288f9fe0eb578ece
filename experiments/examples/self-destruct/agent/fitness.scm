;; fitness.scm: the referee of open code. Defines transcript-cases,
;; transcript-requests and transcript-score.
;;
;; A case is a list of (KEY . VALUE): all are noted, under a symbol or a string, then
;; all are asked for, as strings. The score is the share of wrong answers.

(define (transcript-cases count seed)
  (let ((generator (make-random seed)))
    (let loop ((i 1) (cases '()))
      (if (> i count)
          (reverse cases)
          (loop (+ i 1)
                (cons (cons (string-append "notes-" (number->string i)) (draw-notes generator 12))
                      cases))))))

(define (draw-notes generator count)
  (let loop ((i 0) (notes '()))
    (if (= i count)
        notes
        (let ((name (string-append "k" (number->string (* i 7)))))
          (loop (+ i 1)
                (cons (cons (either generator name) (random-below! generator 1000)) notes))))))

(define (either generator name)
  (if (= 0 (random-below! generator 2)) name (string->symbol name)))

(define (transcript-requests case)
  (append (map (lambda (note) (list 'note (car note) (cdr note))) case)
          (map (lambda (note) (list 'recall (as-string (car note)))) case)))

;; A note's name as a string.
(define (as-string key)
  (if (symbol? key) (symbol->string key) key))

(define (transcript-score case answers)
  (let loop ((notes case) (answers (list-tail answers (length case))) (wrong 0))
    (cond ((null? notes) (cons wrong (length case)))
          ((equal? (car answers) (list 'ok (cdar notes))) (loop (cdr notes) (cdr answers) wrong))
          (else (loop (cdr notes) (cdr answers) (+ wrong 1))))))
