package orchestrator

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// seat is one process of a match, with a clock as in chess: it runs while the process
// is asked something. So all that a process does in a match takes a limited time,
// however many answers it is cut into.
type seat struct {
	shadow *sandbox.Shadow
	clock  time.Duration // at the start
	left   time.Duration
	bytes  int  // of all answers
	loaded bool // and counted among the open sides alive
}

// ask has the process answer once. A *sandbox.Failure tells of all the time that it took
// in the match, not of the last answer alone.
func (s *seat) ask(ctx context.Context, request sexpr.Value) (answer sexpr.Value, err error) {
	err = s.timed(ctx, func(ctx context.Context) (err error) {
		answer, err = s.shadow.Ask(ctx, request)
		return err
	})
	return answer, err
}

// live is ask for a call of the agent, after which the process holds what it changed.
func (s *seat) live(ctx context.Context, sets uint64, request sexpr.Value) (answer *sandbox.Answer, err error) {
	err = s.timed(ctx, func(ctx context.Context) (err error) {
		answer, err = s.shadow.Live(ctx, sets, true, nil, request)
		return err
	})
	return answer, err
}

func (s *seat) timed(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.left)
	defer cancel()
	began := time.Now()
	err := do(ctx)
	s.left -= time.Since(began)
	var failure *sandbox.Failure
	if errors.As(err, &failure) {
		failure.Wall, failure.CPU = s.clock-s.left, max(failure.CPU, failure.Exit.CPU)
	}
	return err
}

// turns lets so many processes compute at once as it has room for.
type turns chan struct{}

const (
	// glance is how often one looks at a process that does not answer.
	glance = 25 * time.Millisecond
	// idle is the CPU time below which it waits, and is not merely one of twenty that
	// share a core.
	idle = glance / 20
)

// take waits until one more process may compute. Who then waits for something gives its
// turn away, so that a side that sleeps keeps nobody from playing. end must be called
// once the process has answered.
func (t turns) take(ctx context.Context, s *sandbox.Shadow) (end func(), err error) {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var once sync.Once
	give := func() { once.Do(func() { <-t }) }
	ended := make(chan struct{})
	look := time.AfterFunc(glance, func() { watch(s, ended, give) })
	return func() { look.Stop(); close(ended); give() }, nil
}

// watch calls give when the process is seen idle, unless it ended its turn before.
func watch(s *sandbox.Shadow, ended chan struct{}, give func()) {
	for before := s.CPU(); ; {
		select {
		case <-ended:
			return
		case <-time.After(glance):
		}
		cpu := s.CPU()
		if cpu-before < idle {
			give()
			return
		}
		before = cpu
	}
}

// loss says that an open side has lost a match by what became of its process, and why.
type loss struct {
	side   sexpr.Symbol
	why    string
	silent bool // the machine may be to blame
}

func (l *loss) Error() string { return string(l.side) + " " + l.why }

// blame says why a side lost that gave no answer.
func blame(side sexpr.Symbol, f *sandbox.Failure, cpu time.Duration) *loss {
	switch {
	case environmental(f):
		return &loss{side, "was silent", true}
	case usedUp(f, cpu):
		return &loss{side, "used up its processor time", false}
	case f.Cause == sandbox.Garbled:
		return &loss{side, "did not answer in the form of the protocol", false}
	}
	return &loss{side, "is dead: its process " + f.Exit.String(), false}
}

// processorTime is what an open process may use of its clock. A quarter: who computes
// without end reaches it, even where it shares a core, before it can be taken for silent.
// The limit of the kernel is in whole seconds.
func processorTime(clock time.Duration) time.Duration {
	return (clock/4 + time.Second - 1).Truncate(time.Second)
}

// usedUp says whether a process ran into a limit of its time. The kernel limits by another
// count than it reports.
func usedUp(f *sandbox.Failure, cpu time.Duration) bool {
	killed := f.Exit.Signal == syscall.SIGKILL || f.Exit.Signal == syscall.SIGXCPU
	return f.Cause == sandbox.TimedOut || (killed && f.Exit.CPU > cpu*9/10)
}

// shown is text from an untrusted process, fit for one line.
func shown(text string) string {
	const most = 200
	line := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + " ..."
	}
	return strings.TrimSpace(line)
}
