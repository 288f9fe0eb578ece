package main

import (
	"context"
	"strings"
	"sync"
	"time"
)

// gate lets clients call while a guard lives, and waits for all of them to stop
// before the next one is looked at.
type gate struct {
	mu      sync.Mutex
	changed sync.Cond
	ctx     context.Context // of the guard's life; nil: closed
	cancel  context.CancelFunc
	inside  int
	over    bool
}

func newGate() *gate {
	g := &gate{}
	g.changed.L = &g.mu
	return g
}

func (g *gate) open() context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.changed.Broadcast()
	return g.ctx
}

// close returns when nobody is inside.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx != nil {
		g.cancel()
		g.ctx = nil
	}
	for g.inside > 0 {
		g.changed.Wait()
	}
}

// end lets those who are inside finish, and nobody in.
func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	g.changed.Broadcast()
}

func (g *gate) enter() (ctx context.Context, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.ctx == nil && !g.over {
		g.changed.Wait()
	}
	if g.over {
		return nil, false
	}
	g.inside++
	return g.ctx, true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.changed.Broadcast()
}

// tail keeps the last lines.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > 2000 {
		t.lines = t.lines[1:]
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
