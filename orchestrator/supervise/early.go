package supervise

import (
	"context"

	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// Early is a line whose zygote starts before its memory is known. Its code is loaded
// only then. Open or Drop must be called, once.
type Early struct {
	cfg    Config
	image  sandbox.Image
	known  chan struct{} // closed when the next two are set
	memory sexpr.List
	sets   uint64
	stop   context.CancelFunc
	opened chan struct{} // closed when the last two are set
	engine sandbox.Engine
	err    error
}

// OpenEarly starts the zygote of the version that code gives.
func OpenEarly(ctx context.Context, cfg Config, code func() (sandbox.Image, error)) *Early {
	cfg.defaults()
	e := &Early{cfg: cfg, known: make(chan struct{}), opened: make(chan struct{})}
	ctx, e.stop = context.WithCancel(ctx)
	go func() {
		defer close(e.opened)
		if e.image, e.err = code(); e.err != nil {
			return
		}
		image := e.image
		image.Later = e.later
		e.engine, e.err = openEngine(ctx, cfg, image)
	}()
	return e
}

func (e *Early) later(ctx context.Context) (sexpr.List, uint64, error) {
	select {
	case <-e.known:
		return e.memory, e.sets, nil
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

// Open goes on as the function Open does.
func (e *Early) Open(memory sexpr.List, sets uint64, onDeath func()) (*Line, error) {
	e.memory, e.sets = memory, sets
	close(e.known)
	<-e.opened
	e.stop()
	if e.err != nil {
		return nil, e.err
	}
	return newLine(e.cfg, e.image, e.engine, sets, onDeath), nil
}

// Drop ends what was started.
func (e *Early) Drop() {
	e.stop()
	<-e.opened
	if e.err == nil {
		e.engine.Close()
	}
}
