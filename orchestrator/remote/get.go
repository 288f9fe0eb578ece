package remote

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	cacheBytes = 256 << 20        // of objects that a worker keeps in memory
	getLimit   = 5 * time.Minute  // that a worker waits for an object
	askLimit   = 30 * time.Second // that it waits for an answer of who puts it again
)

// cache holds what was fetched lately; one fetch serves all who ask meanwhile.
type cache struct {
	mu      sync.Mutex
	entries map[string]*entry
	order   []string // of the ones that are whole, oldest first
	bytes   int
}

type entry struct {
	fetched chan struct{} // closed when the others are set
	data    []byte
	err     error
}

func (w *hand) get(ctx context.Context, hash string) ([]byte, error) {
	c := &w.cache
	c.mu.Lock()
	e := c.entries[hash]
	if e == nil {
		e = &entry{fetched: make(chan struct{})}
		if c.entries == nil {
			c.entries = map[string]*entry{}
		}
		c.entries[hash] = e
		c.mu.Unlock()
		e.data, e.err = w.fetch(w.finish, hash) // not the caller's ctx: others wait too
		c.keep(hash, e)
		close(e.fetched)
	} else {
		c.mu.Unlock()
	}
	select {
	case <-e.fetched:
		return e.data, e.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// keep remembers what was fetched, as far as there is room.
func (c *cache) keep(hash string, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.err != nil {
		delete(c.entries, hash)
		return
	}
	c.order = append(c.order, hash)
	for c.bytes += len(e.data); c.bytes > cacheBytes; c.order = c.order[1:] {
		c.bytes -= len(c.entries[c.order[0]].data)
		delete(c.entries, c.order[0])
	}
}

// fetch gets an object from the server, which a submitter must tell where it is missing.
func (w *hand) fetch(ctx context.Context, hash string) (data []byte, err error) {
	deadline := time.Now().Add(getLimit)
	for pause := firstPause; ; pause = min(2*pause, w.link.pace.retry) {
		healing := w.link.healing()
		if data, err = read(ctx, w.link, objectBucket, hash); err == nil {
			return data, nil
		}
		if failed := w.link.failure(); failed != nil {
			return nil, failed
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if lost(err) {
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("object %s is not on the server, and no submitter puts it there: %w", hash, err)
			}
			if err = w.ask(ctx, hash); err == nil {
				continue
			}
		}
		select {
		case <-healing:
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// ask has a submitter put an object; it returns when that is done, or if none is there.
func (w *hand) ask(ctx context.Context, hash string) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	_, err := w.link.nc.RequestWithContext(ctx, missingSubject, []byte(hash))
	return err
}
