package rating

import (
	"math/bits"
	"math/rand/v2"
	"slices"
)

// largest is the size of a largest matching in a graph of n vertices: half the
// rank of a skew-symmetric matrix with a random number at each edge (Tutte 1947;
// Lovasz 1979), modulo a prime near 2^61. It is never too large, and too small
// with a chance of at most n/2^61 (Schwartz 1980). Edmonds' exact algorithm is
// four times as long.
func largest(n int, joined func(a, b int) bool) int {
	rng := rand.New(rand.NewPCG(0, 0))
	m := make([][]uint64, n)
	for a := range m {
		m[a] = make([]uint64, n)
		for b := range a {
			if joined(a, b) {
				m[a][b] = 1 + rng.Uint64N(prime-1)
				m[b][a] = prime - m[a][b]
			}
		}
	}
	rank := 0
	for column := range n {
		at := slices.IndexFunc(m[rank:], func(row []uint64) bool { return row[column] != 0 })
		if at < 0 {
			continue
		}
		m[rank], m[rank+at] = m[rank+at], m[rank]
		pivot := m[rank]
		for _, row := range m[rank+1:] {
			if factor := prime - row[column]; factor != prime {
				for k := column; k < n; k++ {
					row[k] = (times(row[k], pivot[column]) + times(factor, pivot[k])) % prime
				}
			}
		}
		rank++
	}
	return rank / 2
}

const prime = 1<<61 - 1

// times multiplies modulo prime: 2^61 is 1, so the bits above are added to those
// below.
func times(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	r := low&prime + (high<<3 | low>>61)
	if r >= prime {
		r -= prime
	}
	return r
}
