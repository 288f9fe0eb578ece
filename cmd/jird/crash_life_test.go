package main

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"jird/snapshots/wal"
)

// life is one guard's process.
type life struct {
	command *exec.Cmd
	ended   chan struct{}
	before  string
}

// start starts the only guard. listens is false if it ended before it did.
func (s *siege) start(arrow string, passes int) (l *life, listens bool) {
	s.t.Helper()
	began := time.Now()
	l, listens = s.launch(arrow, passes)
	s.startup = append(s.startup, time.Since(began))
	if !listens && arrow == "" {
		s.t.Fatal("the guard does not start")
	}
	return l, listens
}

// launch starts a guard that may find another.
func (s *siege) launch(arrow string, passes int) (l *life, listens bool) {
	s.t.Helper()
	l = &life{command: s.command("serve", "register", "--mode", s.mode), ended: make(chan struct{}), before: arrow}
	l.command.Env = append(l.command.Env, fmt.Sprintf("JIRD_FAILPOINT=%s:%d", arrow, passes))
	said, err := l.command.StderrPipe()
	if err == nil {
		err = l.command.Start()
	}
	if err != nil {
		s.t.Error(err)
		close(l.ended)
		return l, false
	}
	s.t.Cleanup(l.kill)
	ready := make(chan bool, 1)
	go func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			s.said.add(lines.Text())
			if strings.Contains(lines.Text(), "does not start") {
				s.t.Errorf("all versions start: %s", lines.Text())
			}
			if strings.Contains(lines.Text(), "is served at") {
				ready <- true
			}
		}
		_ = l.command.Wait()
		close(l.ended)
		close(ready)
	}()
	return l, <-ready
}

func (l *life) kill() {
	if l.command.Process != nil {
		_ = l.command.Process.Kill()
	}
	<-l.ended
}

func (l *life) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

func (l *life) waits(d time.Duration) {
	select {
	case <-l.ended:
	case <-time.After(d):
	}
}

// verify reads the journal. A child of the killed guard has it open until it runs
// its own program.
func (s *siege) verify() (report wal.Report, err error) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		report, err = wal.Verify(filepath.Join(s.home, "agents", "register", "journal"))
		if !errors.Is(err, wal.ErrInUse) || time.Since(began) > 5*time.Second {
			return report, err
		}
	}
}
