package ga

import (
	"math/rand"
	"strconv"
	"sync"

	"github.com/MaxHalford/eaopt"
)

// model is our eaopt.Model: it builds an island's next cohort, meets the other
// islands for one common measurement, and sets fitness and Evaluated itself.
type model struct{ *loop }

func (m model) Validate() error { return nil }

// Apply is called by eaopt for all islands at once, one goroutine each.
func (m model) Apply(pop *eaopt.Population) error {
	island, err := strconv.Atoi(pop.ID)
	if err != nil {
		return err
	}
	generation := m.state.Generation + 1 // not written before all islands are done
	cohort := members(pop.Individuals)
	if !m.sourced() { // else all islands are bred together, where they meet
		cohort = m.cfg.next(m.cfg.derive("cohort", island, generation), cohort, m.state.Archive)
	}
	if err := m.barrier.meet(island, cohort); err != nil {
		return err
	}
	place(pop.Individuals, cohort)
	return nil
}

// migrator swaps random individuals between neighbouring islands, by eaopt's
// own ring, every so many generations: of the run, not of this process.
type migrator struct{ *loop }

func (m migrator) Validate() error { return nil }

func (m migrator) Apply(pops eaopt.Populations, _ *rand.Rand) {
	generation := m.state.Generation + 1
	if m.cfg.MigrateEvery == 0 || generation%m.cfg.MigrateEvery != 0 {
		return
	}
	eaopt.MigRing{NMigrants: uint(m.cfg.Migrants)}.Apply(pops, m.cfg.derive("migrate", 0, generation))
}

// barrier lets the islands of one generation be measured together. The last to
// arrive measures for all.
type barrier struct {
	measure func([][]Member) ([]Member, error)

	mu      sync.Mutex
	changed sync.Cond
	cohorts [][]Member
	arrived int
	round   int
	fresh   []Member // of the last round
	err     error
}

func newBarrier(islands int, measure func([][]Member) ([]Member, error)) *barrier {
	b := &barrier{measure: measure, cohorts: make([][]Member, islands)}
	b.changed.L = &b.mu
	return b
}

func (b *barrier) meet(island int, cohort []Member) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cohorts[island] = cohort
	b.arrived++
	if b.arrived == len(b.cohorts) {
		b.fresh, b.err = b.measure(b.cohorts)
		b.arrived = 0
		b.round++
		b.changed.Broadcast()
		return b.err
	}
	for round := b.round; round == b.round; {
		b.changed.Wait()
	}
	return b.err
}
