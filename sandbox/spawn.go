package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"jird/sandbox/isolation"
)

// Spawner starts a fresh process for every shadow: the engine for machines
// where no zygote can be compiled. The same frames, and the same limits with two
// differences. Without a C part nothing can be given up after loading, so the
// shadow can go on reading what the runtime was started from: the image and the
// system's own files (/usr, /lib, /bin, read-only; not /etc, /home, /root, /proc
// or /var). And an agent's C code cannot be loaded.
type Spawner struct {
	options Options
	image   Image
	cases   []string
	live    children

	mu    sync.Mutex
	first *Shadow // started by OpenSpawner, for the first Start
}

var _ Engine = (*Spawner)(nil)

// OpenSpawner starts one process to see that the image loads.
func OpenSpawner(ctx context.Context, o Options, im Image) (*Spawner, error) {
	if im.Later != nil {
		memory, sets, err := im.Later(ctx)
		if err != nil {
			return nil, err
		}
		im.Memory, im.Sets, im.Later = memory, sets, nil
	}
	sp := &Spawner{options: o.withDefaults(), image: im}
	first, cases, err := sp.spawn(ctx)
	if err != nil {
		return nil, err
	}
	sp.first, sp.cases = first, cases
	return sp, nil
}

// Down implements Engine.
func (sp *Spawner) Down() <-chan struct{} { return nil }

// Cases implements Engine.
func (sp *Spawner) Cases() []string { return sp.cases }

// Start implements Engine.
func (sp *Spawner) Start(ctx context.Context) (*Shadow, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sp.mu.Lock()
	first := sp.first
	sp.first = nil
	sp.mu.Unlock()
	if first != nil {
		if !sp.live.add(first) {
			return nil, ErrClosed
		}
		return first, nil
	}
	s, _, err := sp.spawn(ctx)
	return s, err
}

func (sp *Spawner) spawn(ctx context.Context) (*Shadow, []string, error) {
	o := sp.options
	plan, err := isolation.Decide(o.Policy, isolation.Probe())
	if err != nil {
		return nil, nil, err
	}
	c, err := newChannels()
	if err != nil {
		return nil, nil, err
	}
	build := func(dir string) (*packed, error) { return sp.image.pack(dir, o.objects(ctx), nil) }
	slots := 0
	if plan.Workspace > 0 {
		slots = 1
	}
	p, err := start(o.jail(plan, isolation.Server, slots), build, o.argv(plan),
		[]*os.File{c.theirs[0]}, c.theirs[1], c.theirs[2], false)
	if err != nil {
		c.closeAll()
		return nil, nil, err
	}
	c.closeTheirs()
	s := adopt(p.cmd.Process, 0, c, o, &sp.live, p.cleanup)
	if !sp.live.add(s) {
		s.Kill()
		return nil, nil, ErrClosed
	}
	cases, err := readReady(ctx, s.frames, o.Wall)
	if err == nil {
		err = s.greet(ctx, plan.Level == isolation.Full)
	}
	if err != nil {
		exit := s.Kill()
		var load *LoadError
		if !errors.As(err, &load) {
			err = fmt.Errorf("starting a shadow: %w (%v)%s", err, exit, quoted(strings.TrimSpace(exit.Stderr)))
		}
		return nil, nil, err
	}
	return s, cases, nil
}

// Close implements Engine.
func (sp *Spawner) Close() { sp.live.close() }
