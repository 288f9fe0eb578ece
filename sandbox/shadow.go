package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"jird/sandbox/wire"
	"jird/snapshots/sexpr"
)

// Shadow is one confined process that serves an agent. One request at a time;
// Close may be called at any time, by anybody, more than once.
type Shadow struct {
	PID  int
	Slot int

	proc   *os.Process
	frames *os.File
	stdout *tail
	stderr *tail
	output [2]*os.File // our ends of its stdout and stderr
	page   *page       // nil unless the engine counts
	pipes  sync.WaitGroup
	exited chan struct{} // closed when the process has been reaped and its output read
	exit   Exit
	onExit func() // before exited is closed
	limit  time.Duration
}

// Exit is how a shadow ended.
type Exit struct {
	Code      int            // exit status, -1 if a signal ended it
	Signal    syscall.Signal // 0 if none
	CPU       time.Duration  // user and system
	MaxRSS    int64          // bytes, shared pages counted; of a spawned shadow, at least this program's own at the fork
	Stdout    string         // at most the limit of the engine
	Stderr    string
	Truncated bool // some output was dropped
}

// String says it in a few words.
func (e Exit) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("ended by signal %d (%v)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exited with status %d", e.Code)
}

// Cause says why a request got no answer.
type Cause string

// The causes.
const (
	TimedOut Cause = "timeout" // the deadline passed
	Ended    Cause = "ended"   // the process ended or closed its channel
	Garbled  Cause = "garbage" // the answer was not a protocol frame
)

// Failure is a request without an answer. The shadow that failed has been
// closed.
type Failure struct {
	Cause Cause
	CPU   time.Duration // used by the process during the request
	Wall  time.Duration // of the request
	Exit  Exit
	Err   error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("shadow gave no answer: %s after %v (%v of CPU), %v", f.Cause, f.Wall.Round(time.Millisecond), f.CPU.Round(time.Millisecond), f.Exit)
}

func (f *Failure) Unwrap() error { return f.Err }

// channels are the ends of a shadow's descriptors: ours, and those that it gets.
type channels struct {
	frames, stdout, stderr *os.File
	theirs                 [4]*os.File // frames, stdout, stderr, and the page or nil
	page                   *page       // nil unless asked for
}

func newChannels() (*channels, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a shadow's channel: %w", err)
	}
	// Non-blocking before NewFile, so that deadlines work on our end only: the
	// flag belongs to each end by itself.
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, err
	}
	c := &channels{frames: os.NewFile(uintptr(pair[0]), "shadow frames")}
	c.theirs[0] = os.NewFile(uintptr(pair[1]), "shadow frames, its end")
	if c.stdout, c.theirs[1], err = os.Pipe(); err != nil {
		c.closeAll()
		return nil, fmt.Errorf("making a shadow's output: %w", err)
	}
	if c.stderr, c.theirs[2], err = os.Pipe(); err != nil {
		c.closeAll()
		return nil, fmt.Errorf("making a shadow's output: %w", err)
	}
	return c, nil
}

func (c *channels) closeTheirs() {
	for _, f := range c.theirs {
		if f != nil {
			f.Close()
		}
	}
}

func (c *channels) closeAll() {
	c.closeTheirs()
	c.page.close()
	for _, f := range []*os.File{c.frames, c.stdout, c.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// adopt makes a shadow of a child process, and has it counted among live until
// it has ended. From here on exactly one goroutine waits for it.
func adopt(proc *os.Process, slot int, c *channels, o Options, live *children, onExit func()) *Shadow {
	s := &Shadow{
		PID: proc.Pid, Slot: slot, proc: proc, frames: c.frames, limit: o.Wall,
		stdout: &tail{limit: o.Output}, stderr: &tail{limit: o.Output},
		output: [2]*os.File{c.stdout, c.stderr}, page: c.page,
		exited: make(chan struct{}),
	}
	s.onExit = func() { onExit(); live.remove(s) }
	for i, to := range []*tail{s.stdout, s.stderr} {
		s.pipes.Add(1)
		go func() {
			defer s.pipes.Done()
			defer s.output[i].Close()
			// All of it is read, so that a flood blocks only its author for a moment
			// and not for ever; what is over the limit is dropped.
			_, _ = io.Copy(to, s.output[i])
		}()
	}
	go s.reap()
	return s
}

// drainGrace is how long output may still be read after its author's death: all
// of it is there already. Without a bound, whoever else holds the pipe open,
// such as a hostile zygote, could keep a dead shadow from being reported.
const drainGrace = time.Second

func (s *Shadow) reap() {
	state, err := s.proc.Wait()
	for _, f := range s.output {
		_ = f.SetReadDeadline(time.Now().Add(drainGrace))
	}
	s.pipes.Wait()
	s.exit = Exit{Code: -1, Stdout: s.stdout.String(), Stderr: s.stderr.String(), Truncated: s.stdout.cut || s.stderr.cut}
	s.page.close()
	if err == nil {
		s.exit.Code = state.ExitCode()
		s.exit.CPU = state.UserTime() + state.SystemTime()
		if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			s.exit.Signal = status.Signal()
		}
		if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
			s.exit.MaxRSS = usage.Maxrss << 10
		}
	}
	s.onExit()
	close(s.exited)
}

// CPU returns the processor time that the shadow has used so far.
func (s *Shadow) CPU() time.Duration {
	// clock_getcpuclockid(3): a process's CPU clock has an id made of its pid.
	const schedClock = 2
	var t unix.Timespec
	if unix.ClockGettime(int32(^s.PID)<<3|schedClock, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// Ask sends a request and returns the answer. The deadline is the engine's or
// ctx's, whichever is first. The error wraps wire.ErrUnsendable when the request
// cannot be sent, and then the shadow is as before. It is ctx.Err() when ctx was
// cancelled, else a *Failure; in both cases the shadow is closed.
func (s *Shadow) Ask(ctx context.Context, request sexpr.Value) (sexpr.Value, error) {
	cpu, begin := s.CPU(), time.Now()
	ask, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	answer, err := s.exchange(ask, request)
	if err == nil || errors.Is(err, wire.ErrUnsendable) {
		return answer, err
	}
	used := s.CPU() - cpu
	wall := time.Since(begin)
	f := &Failure{Cause: Ended, CPU: max(used, 0), Wall: wall, Err: err}
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		s.Kill()
		return nil, ctx.Err()
	case ask.Err() != nil:
		f.Cause = TimedOut
	case errors.Is(err, wire.ErrGarbage):
		f.Cause = Garbled
	}
	f.Exit = s.Kill()
	if f.Cause == Ended && f.Exit.CPU > cpu {
		f.CPU = f.Exit.CPU - cpu
	}
	return nil, f
}

func (s *Shadow) exchange(ctx context.Context, request sexpr.Value) (sexpr.Value, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.frames.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if request != nil {
		if err := s.silent(); err != nil {
			return nil, err
		}
		if err := wire.Write(s.frames, request); err != nil {
			return nil, err
		}
	}
	return wire.Read(s.frames)
}

// silent refuses a shadow that has said something unasked: it would be taken
// for the answer to what is asked next.
func (s *Shadow) silent() error {
	raw, err := s.frames.SyscallConn()
	if err != nil {
		return err
	}
	unasked := 0
	if err := raw.Control(func(fd uintptr) {
		var b [1]byte
		unasked, _, _ = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); err != nil {
		return err
	}
	if unasked > 0 {
		return fmt.Errorf("%w: an answer before the request", wire.ErrGarbage)
	}
	return nil
}

// greet reads the hello and, where it should be confined, refuses a shadow that
// is not.
func (s *Shadow) greet(ctx context.Context, confined bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	hello, err := s.exchange(ctx, nil)
	if err != nil {
		exit := s.Kill()
		return fmt.Errorf("shadow %d did not start: %v: %w%s", s.PID, exit, err, quoted(exit.Stderr))
	}
	list, _ := hello.(sexpr.List)
	if len(list) != 4 || !sexpr.Equal(list[0], symbol("hello")) || !sexpr.Equal(list[1], number(wire.Version)) {
		s.Kill()
		return fmt.Errorf("shadow %d did not start: it does not speak version %d of the protocol", s.PID, wire.Version)
	}
	if confined && !sexpr.Equal(list[3], number(0)) {
		s.Kill()
		mask, _ := sexpr.Canonical(list[3])
		return fmt.Errorf("shadow %d is not confined: its probe reached what it must not (mask %s: 1 file, 2 socket, 4 signal, 8 root); nothing was run in it", s.PID, mask)
	}
	return nil
}

func quoted(text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	return ": " + text
}

// closeGrace is how long a shadow may take to end by itself once its channel is
// closed.
const closeGrace = 200 * time.Millisecond

// Close ends the shadow, first by closing its channel, and says how it ended.
func (s *Shadow) Close() Exit {
	_ = unix.Shutdown(int(s.fd()), unix.SHUT_RDWR)
	select {
	case <-s.exited:
	case <-time.After(closeGrace):
	}
	return s.Kill()
}

// fd is for shutdown(2), which ends the conversation while a read may be
// waiting; the File stays open and owned.
func (s *Shadow) fd() (fd uintptr) {
	raw, err := s.frames.SyscallConn()
	if err != nil {
		return ^uintptr(0)
	}
	fd = ^uintptr(0)
	_ = raw.Control(func(f uintptr) { fd = f })
	return fd
}

// Kill ends the shadow at once and says how it ended.
func (s *Shadow) Kill() Exit {
	_ = s.proc.Kill()
	<-s.exited
	_ = s.frames.Close()
	return s.exit
}
