;; match.scm: the referee of the iterated prisoner's dilemma (Axelrod 1984).
;;
;; Two hundred turns. Who cooperates while the other defects gets 0, the other 5; both
;; get 3 for cooperating and 1 for defecting. Each side is its policy
;;
;;   (move round mine theirs mine-before theirs-before theirs-third
;;         my-defections their-defections their-recent chance)
;;
;; which answers whether to cooperate: round counts from 0; mine and theirs are the last
;; moves, mine-before and theirs-before those before, theirs-third the one before that
;; (true: cooperated; before the first turn all of them are true); the defections are of
;; the whole match; their-recent is how often the other cooperated in the last ten turns;
;; chance is a fresh random number from 0 to 1, each side's own. Any other answer than
;; true or false forfeits the match.

(define turns 200)
(define noise 0)                    ; percent of moves that come out as the opposite

;; What a side remembers: a vector of the other's last ten moves, and counts.
(define (make-memory) (vector #t #t #t #t #t 0 0 (make-vector 10 #f) 0))

;; WHO is SIDE's name, blue or red.
(define (ask who side round m chance)
  (let ((move (side 'move round (vector-ref m 0) (vector-ref m 1) (vector-ref m 2) (vector-ref m 3) (vector-ref m 4)
                    (vector-ref m 5) (vector-ref m 6) (vector-ref m 8) chance)))
    (if (boolean? move) move (forfeit! who "moved neither #t nor #f"))))

(define (remember! m round mine theirs)
  (let* ((ring (vector-ref m 7)) (at (modulo round 10)))
    (vector-set! m 4 (vector-ref m 3))
    (vector-set! m 3 (vector-ref m 1))
    (vector-set! m 2 (vector-ref m 0))
    (vector-set! m 1 theirs)
    (vector-set! m 0 mine)
    (if (not mine) (vector-set! m 5 (+ 1 (vector-ref m 5))))
    (if (not theirs) (vector-set! m 6 (+ 1 (vector-ref m 6))))
    (vector-set! m 8 (+ (vector-ref m 8) (if theirs 1 0) (if (vector-ref ring at) -1 0)))
    (vector-set! ring at theirs)))

(define (draw! random) (/ (random-below! random 1000000) 1000000.))

(define (meant random move)
  (if (and (> noise 0) (< (random-below! random 100) noise)) (not move) move))

(define (payoff mine theirs)
  (if mine (if theirs 3 0) (if theirs 5 1)))

(define (match-play blue red seed)
  (let ((random (make-random seed)) (b (make-memory)) (r (make-memory)))
    (let loop ((round 0) (blue-points 0) (red-points 0))
      (if (< round turns)
          (let* ((blue-chance (draw! random))
                 (red-chance (draw! random))
                 (blue-moves (meant random (ask 'blue blue round b blue-chance)))
                 (red-moves (meant random (ask 'red red round r red-chance))))
            (match-note! (list (if blue-moves 'C 'D) (if red-moves 'C 'D)))
            (remember! b round blue-moves red-moves)
            (remember! r round red-moves blue-moves)
            (loop (+ round 1)
                  (+ blue-points (payoff blue-moves red-moves))
                  (+ red-points (payoff red-moves blue-moves))))
          (cons (/ (exact->inexact blue-points) turns) (/ (exact->inexact red-points) turns))))))
