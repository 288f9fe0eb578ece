package main

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/orchestrator/guard"
	"jird/orchestrator/serve"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/wal"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1 // jird could not do its job
	exitUsage       = 2
	exitInvalid     = 3   // the spec, the agent, a genome or a case is at fault
	exitTooShort    = 5   // the budget ended before one whole generation
	exitIsolation   = 6   // this machine cannot isolate as asked
	exitDamaged     = 7   // a store is damaged
	exitAsserted    = 8   // what --assert says does not hold, or what is replayed is not as recorded
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

// usageError is a command line that cannot be understood.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

var (
	// errInterrupted ends a command whose result has been printed.
	errInterrupted = errors.New("")
	errAsserted    = errors.New("") // after what does not hold has been said, or shown
	errTooShort    = errors.New("the budget ended before one whole generation: what was judged is the best of the first draw; give it more --budget")
)

// callersFault are the statuses by which a guard refuses what can never be right.
var callersFault = []int{http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge}

func exitCode(err error) int {
	var (
		usage    usageError
		spec     *experiments.SpecError
		agent    *orchestrator.AgentError
		load     *sandbox.LoadError
		referee  *orchestrator.RefereeError
		snapshot *snapshots.DamageError
		archive  *snapshots.ArchiveError
		book     *ledger.DamageError
		lines    *ledger.ImportError
		corrupt  *wal.CorruptError
		doubt    *guard.DoubtError
		refused  *serve.RefusedError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &refused) && slices.Contains(callersFault, refused.Status),
		errors.As(err, &usage), noHelp(err), errors.Is(err, ledger.ErrNoRun), errors.Is(err, ledger.ErrNoGenome), errors.Is(err, snapshots.ErrNoImage), errors.Is(err, snapshots.ErrManyImages), errors.Is(err, experiments.ErrJudged), errors.Is(err, snapshots.ErrNoRef), errors.Is(err, snapshots.ErrNoArchive):
		return exitUsage
	case errors.As(err, &snapshot), errors.As(err, &archive), errors.As(err, &book), errors.As(err, &lines), errors.As(err, &corrupt), errors.As(err, &doubt):
		return exitDamaged
	case errors.As(err, &spec), errors.As(err, &agent), errors.As(err, &load), errors.As(err, &referee):
		return exitInvalid
	case errors.Is(err, isolation.ErrUnavailable):
		return exitIsolation
	case errors.Is(err, errAsserted):
		return exitAsserted
	case errors.Is(err, errTooShort):
		return exitTooShort
	}
	return exitFailed
}

// noHelp is the library's own error, for a help topic that does not exist. It is
// never wrapped, unlike exec.ExitError, which has the same method.
func noHelp(err error) bool {
	_, ok := err.(cli.ExitCoder)
	return ok
}
