package sandbox

import (
	"context"
	"fmt"
	"os"
	"time"

	"jird/sandbox/isolation"
	"jird/sandbox/wire"
	"jird/snapshots/sexpr"
)

// Engine makes shadows of one image. Safe for concurrent use.
type Engine interface {
	// Start returns a confined shadow that has said hello.
	Start(ctx context.Context) (*Shadow, error)
	// Cases are the names of the image's cases, in order.
	Cases() []string
	// Close ends the engine; the shadows must have been closed before.
	Close()
}

// Options are what an engine does with its image.
type Options struct {
	Runtime  Runtime
	Compiler *Compiler // nil: sources are interpreted
	Policy   isolation.Policy
	Wall     time.Duration // deadline of loading, and of every request; 0: 30 s
	Output   int           // bytes kept of each of stdout and stderr; 0: 64 KiB
	Slots    int           // shadows alive at once, if they have workspaces; 0: 64
}

func (o Options) withDefaults() Options {
	if o.Wall == 0 {
		o.Wall = 30 * time.Second
	}
	if o.Output == 0 {
		o.Output = 64 << 10
	}
	if o.Slots == 0 {
		o.Slots = 64
	}
	return o
}

// Kind says which engine Open takes: "fork" needs a compiled zygote, "spawn"
// works everywhere, slower.
func (o Options) Kind() string {
	if o.Compiler != nil && o.Runtime.Compiler != "" {
		return "fork"
	}
	return "spawn"
}

// Open starts the engine that the options allow. An agent or referee that does
// not load gives a *LoadError.
func Open(ctx context.Context, o Options, im Image) (Engine, error) {
	if o.Kind() == "fork" {
		return OpenZygote(ctx, o, im)
	}
	return OpenSpawner(ctx, o, im)
}

func (o Options) objects(ctx context.Context) func(Source) (string, []byte, error) {
	if o.Compiler == nil || o.Runtime.Compiler == "" {
		return nil
	}
	return func(s Source) (string, []byte, error) { return o.Compiler.Object(ctx, s) }
}

func (o Options) jail(plan isolation.Plan, role isolation.Role, slots int) isolation.Jail {
	return isolation.Jail{
		Plan: plan, Role: role, Parent: os.Getpid(),
		System: o.Runtime.system(), Program: o.Runtime.Interpreter, Slots: slots,
	}
}

func (o Options) argv(plan isolation.Plan) []string {
	return []string{o.Runtime.Interpreter, o.Runtime.options(plan.Heap), isolation.ImageDir + "/boot.scm"}
}

// readReady waits for the first frame of a started process: the names of its
// cases, or why it could not load.
func readReady(ctx context.Context, conn *os.File, wall time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, wall)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	frame, err := wire.Read(conn)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("loading the agent took longer than %v; raise limits.wall or look for a loop at top level: %w", wall, ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	list, _ := frame.(sexpr.List)
	if len(list) == 3 && sexpr.Equal(list[0], symbol("failed")) {
		step, _ := list[1].(sexpr.String)
		message, _ := list[2].(sexpr.String)
		return nil, &LoadError{Step: string(step), Message: string(message)}
	}
	if len(list) != 4 || !sexpr.Equal(list[0], symbol("ready")) || !sexpr.Equal(list[1], number(wire.Version)) {
		return nil, fmt.Errorf("%w: the runtime does not speak version %d of the protocol", wire.ErrGarbage, wire.Version)
	}
	names, _ := list[3].(sexpr.List)
	cases := make([]string, len(names))
	for i, n := range names {
		name, ok := n.(sexpr.String)
		if !ok {
			return nil, fmt.Errorf("%w: a case's name is not a string", wire.ErrGarbage)
		}
		cases[i] = string(name)
	}
	return cases, nil
}
