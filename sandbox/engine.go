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
	// Down is closed when Start can give no shadow any more, and a new engine must be
	// opened. It is nil for an engine that cannot fail so.
	Down() <-chan struct{}
	// Cases are the names of the image's cases, in order.
	Cases() []string
	// Close ends the engine and all its shadows. It may be called at any time, more
	// than once; what is under way ends with an error.
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
	Counters bool          // shadows count in a page that they share with this process; see Shadow.Counters
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

// readReady reads the first frames of a started process: (loading STEP) before
// each step, then the names of its cases, or why it could not load.
func readReady(ctx context.Context, conn *os.File, wall time.Duration) ([]string, error) {
	load, cancel := context.WithTimeout(ctx, wall)
	defer cancel()
	stop := context.AfterFunc(load, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for step := "boot"; ; {
		frame, err := wire.Read(conn)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case load.Err() != nil:
			return nil, &LoadError{Step: step, Message: fmt.Sprintf("not loaded within %v; look for a loop at top level, or raise limits.wall", wall)}
		case err != nil:
			return nil, err
		}
		list, _ := frame.(sexpr.List)
		if len(list) != 2 || !sexpr.Equal(list[0], symbol("loading")) {
			return readCases(list)
		}
		if name, ok := list[1].(sexpr.String); ok {
			step = string(name)
		}
	}
}

// readCases reads (failed STEP MESSAGE) or (ready VERSION SYSTEM (NAME ...)).
func readCases(list sexpr.List) ([]string, error) {
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
