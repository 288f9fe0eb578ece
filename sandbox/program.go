package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Program is a program of the user's that is asked once: it reads all of Stdin and
// answers on its output. It is trusted as its user is, and so not confined.
type Program struct {
	Argv      []string // no shell reads it; the first is found in PATH where it has no slash
	Dir       string   // that it runs in; "": this process's
	Env       []string // NAME=VALUE, beside a plain PATH, HOME, TMPDIR and LANG
	Stdin     []byte
	MaxOutput int // bytes; who writes more is ended
}

// StartError says that a program could not be started at all.
type StartError struct {
	Program string
	Err     error
}

func (e *StartError) Error() string { return fmt.Sprintf("starting %s: %v", e.Program, e.Err) }

// Unwrap returns what kept it from starting.
func (e *StartError) Unwrap() error { return e.Err }

// ErrOutput is that a program wrote more than it may.
var ErrOutput = errors.New("it wrote more than it may")

// RunProgram runs a program to its end and returns what it wrote, of stderr the first
// 4 KiB, also when it failed. When ctx is done, it writes too much, or it ends, its whole
// process group is killed; a descendant that left the group cannot hold the answer up for
// more than a second. The error is a *StartError, ErrOutput, ctx's cause, or says with what
// status it ended; no error has a word of the program's own.
func RunProgram(ctx context.Context, p Program) (stdout []byte, stderr string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &flood{limit: p.MaxOutput, over: func() { cancel(ErrOutput) }}
	said := &tail{limit: 4096}
	cmd := exec.Command(p.Argv[0], p.Argv[1:]...)
	cmd.Dir = p.Dir
	cmd.Env = slices.Concat(jailedEnv, p.Env) // of two values the last counts
	cmd.Stdin = bytes.NewReader(p.Stdin)
	cmd.Stdout, cmd.Stderr = out, said
	cmd.WaitDelay = drainGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := ctx.Err(); err != nil {
		return nil, "", context.Cause(ctx)
	}
	if err := onStarter(cmd.Start); err != nil {
		return nil, "", &StartError{Program: p.Argv[0], Err: err}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	// Its leader has not been waited for yet, so the group's number is still its own.
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	<-ended
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay): // it ended well, and left somebody behind
		err = nil
	}
	return out.data, said.String(), err
}

// flood keeps what is written to it up to a limit, and says once that there was more.
type flood struct {
	limit int
	data  []byte
	over  func()
}

func (f *flood) Write(b []byte) (int, error) {
	keep := min(len(b), f.limit-len(f.data))
	f.data = append(f.data, b[:keep]...)
	if keep < len(b) {
		f.over()
	}
	return len(b), nil
}
