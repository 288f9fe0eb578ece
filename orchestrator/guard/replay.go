package guard

import (
	"iter"
	"runtime"

	"jird/orchestrator/journal"
)

// batchLength is how many records one goroutine decodes at a time.
const batchLength = 256

// batch are records that follow each other.
type batch struct {
	entries []Entry
	records []journal.Record
	err     error         // why there are fewer records than entries, or nothing follows
	done    chan struct{} // closed when they are decoded
}

func (b *batch) decode() {
	defer close(b.done)
	for _, e := range b.entries {
		record, err := journal.Decode(e.Data)
		if err != nil {
			b.err = err
			return
		}
		b.records = append(b.records, record)
	}
}

// readBatches sends entries in order, each batch to be decoded by a goroutine of its
// own: decoding is most of what a recovery does.
func readBatches(entries iter.Seq2[Entry, error], to chan<- *batch, stop <-chan struct{}) {
	defer close(to)
	b := &batch{done: make(chan struct{})}
	send := func() bool {
		select {
		case to <- b:
		case <-stop:
			return false
		}
		go b.decode()
		b = &batch{done: make(chan struct{})}
		return true
	}
	for entry, err := range entries {
		if err != nil {
			b.err = err
			break
		}
		b.entries = append(b.entries, entry)
		if len(b.entries) == batchLength && !send() {
			return
		}
	}
	send()
}

// apply takes records in, up to the first that cannot be.
func (r *recovered) apply(entries iter.Seq2[Entry, error]) error {
	ahead, stop := make(chan *batch, runtime.GOMAXPROCS(0)), make(chan struct{})
	go readBatches(entries, ahead, stop)
	defer func() {
		close(stop)
		for b := range ahead { // until the reader has ended too
			<-b.done
		}
	}()
	for b := range ahead {
		<-b.done
		if err := r.applyBatch(b); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovered) applyBatch(b *batch) error {
	if len(b.entries) > 0 || b.err != nil {
		r.clean = false // something follows the checkpoint, or may
	}
	for i, record := range b.records {
		if err := r.state.Apply(b.entries[i].LSN, record); err != nil {
			return err
		}
		switch record := record.(type) {
		case *journal.Done:
			r.live, r.unproven = r.state.Version(record.N), true
		case *journal.Call:
			r.unproven = false
		}
	}
	return b.err
}
