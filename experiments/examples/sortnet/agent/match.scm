;; match.scm: the referee of sorting networks against test inputs (Hillis 1990,
;; "Co-evolving parasites improve simulated evolution as an optimization procedure").
;;
;; Blue is a sorting network, (network) -> '((I J) ...): each comparator puts the smaller
;; of wires I and J on I, I < J. Before its own come the comparators that width.scm gives.
;; Red is a list of inputs, (inputs) -> '(NUMBER ...): bit K of a NUMBER is what wire K gets,
;; zero or one. A network that sorts all inputs of zeros and ones sorts everything (the
;; 0-1 principle: Knuth, The Art of Computer Programming 3, 5.3.4, theorem Z). A red without
;; inputs stands for all of them: it is the proof.
;;
;; Blue's points are 1 if it sorts all, half of the share that it sorts if not, less 0.0003
;; for each comparator of its own; against the proof, 0 unless it sorts all. Red's points
;; are 0 if all was sorted, else a half and half of the share that was not.

;; The inputs are computed many at once: a wire is a fixnum that has a bit for each.
(define lanes 48)

;; Inputs as numbers, from a list, LANES at most -> what the wires get.
(define (transposed inputs)
  (let ((file (make-vector wires 0)))
    (let input ((rest inputs) (bit 1) (count 0))
      (if (and (pair? rest) (< count lanes))
          (begin
            (let wire ((k 0) (n (car rest)))
              (if (< k wires)
                  (begin
                    (if (odd? n) (vector-set! file k (bitwise-ior bit (vector-ref file k))))
                    (wire (+ k 1) (quotient n 2)))))
            (input (cdr rest) (* 2 bit) (+ count 1)))
          file))))

(define (drop list count)
  (if (and (pair? list) (> count 0)) (drop (cdr list) (- count 1)) list))

(define (compare! file comparators)
  (if (pair? comparators)
      (let* ((i (car (car comparators))) (j (cadr (car comparators)))
             (a (vector-ref file i)) (b (vector-ref file j)))
        (vector-set! file i (bitwise-and a b))
        (vector-set! file j (bitwise-ior a b))
        (compare! file (cdr comparators)))))

;; A bit for each input whose wires do not rise.
(define (unsorted file)
  (let loop ((k 1) (found 0))
    (if (< k wires)
        (loop (+ k 1) (bitwise-ior found (bitwise-and (vector-ref file (- k 1)) (bitwise-not (vector-ref file k)))))
        found)))

(define (ones n)
  (let loop ((n n) (count 0))
    (if (= n 0) count (loop (bitwise-and n (- n 1)) (+ count 1)))))

;; How many of a list of inputs the comparators do not sort.
(define (failures comparators inputs)
  (let loop ((rest inputs) (count 0))
    (if (pair? rest)
        (let ((file (transposed rest)))
          (compare! file comparators)
          (loop (drop rest lanes) (+ count (ones (unsorted file)))))
        count)))

;; The first input that the comparators do not sort, #f if they sort all.
(define (counterexample comparators)
  (let ((all (expt 2 wires)))
    (let loop ((from 0))
      (if (< from all)
          (let* ((inputs (let list ((n (min all (+ from lanes))) (made '()))
                           (if (> n from) (list (- n 1) (cons (- n 1) made)) made)))
                 (file (transposed inputs)))
            (compare! file comparators)
            (let ((wrong (unsorted file)))
              (if (= wrong 0)
                  (loop (+ from lanes))
                  (let first ((n from) (wrong wrong))
                    (if (odd? wrong) n (first (+ n 1) (quotient wrong 2)))))))
          #f))))

(define (match-play blue red seed)
  (let* ((own (blue 'network))
         (comparators (append given own))
         (inputs (red 'inputs))
         (cost (* 0.0003 (length own))))
    (match-note! (list 'comparators (length comparators) comparators))
    (if (null? inputs)
        (let ((wrong (counterexample comparators)))
          (match-note! (list 'proof (if wrong (list 'fails wrong) 'sorts)))
          (if wrong (cons 0. 1.) (cons (- 1. cost) 0.)))
        (let* ((count (length inputs))
               (failed (failures comparators inputs))
               (share (/ (exact->inexact failed) count)))
          (match-note! (list 'inputs count 'failed failed))
          (if (= failed 0)
              (cons (- 1. cost) 0.)
              (cons (- (* 0.5 (- 1. share)) cost) (+ 0.5 (* 0.5 share))))))))
