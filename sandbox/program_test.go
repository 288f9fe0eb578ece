package sandbox

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func sh(script string, stdin string) Program {
	return Program{Argv: []string{"/bin/sh", "-c", script}, Stdin: []byte(stdin), MaxOutput: 1 << 16}
}

func TestProgramAnswers(t *testing.T) {
	p := sh("cat; echo aside >&2; echo $WORD $UNSAID", "asked ")
	p.Env = []string{"WORD=said"}
	t.Setenv("UNSAID", "secret")
	out, said, err := RunProgram(t.Context(), p)
	if err != nil || string(out) != "asked said\n" || said != "aside\n" {
		t.Errorf("%q %q %v", out, said, err)
	}
}

func TestProgramNeedNotRead(t *testing.T) {
	out, _, err := RunProgram(t.Context(), sh("echo done", strings.Repeat("x", 1<<20)))
	if err != nil || string(out) != "done\n" {
		t.Errorf("%q %v", out, err)
	}
}

func TestProgramFails(t *testing.T) {
	out, said, err := RunProgram(t.Context(), sh("echo half; echo why >&2; exit 3", ""))
	if err == nil || err.Error() != "exit status 3" || string(out) != "half\n" || said != "why\n" {
		t.Errorf("%q %q %v", out, said, err)
	}
	var start *StartError
	if _, _, err := RunProgram(t.Context(), Program{Argv: []string{"no-such-program"}}); !errors.As(err, &start) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestProgramThatFloodsIsKilled(t *testing.T) {
	out, _, err := RunProgram(t.Context(), sh("while :; do echo more; done", ""))
	if !errors.Is(err, ErrOutput) || len(out) != 1<<16 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

// A program's children are ended with it, whether it is killed or ends by itself.
func TestProgramLeavesNobody(t *testing.T) {
	for name, script := range map[string]string{
		"killed": `sleep 600 & echo $! >"$PIDS"; wait`,
		"ended":  `sleep 600 & echo $! >"$PIDS"; echo done`,
	} {
		t.Run(name, func(t *testing.T) {
			pids := t.TempDir() + "/pids"
			p := sh(script, "")
			p.Env = []string{"PIDS=" + pids}
			ctx, cancel := context.WithCancelCause(t.Context())
			stopped := errors.New("stopped")
			go func() {
				for name == "killed" {
					if text, _ := os.ReadFile(pids); strings.HasSuffix(string(text), "\n") {
						cancel(stopped)
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
			out, _, err := RunProgram(ctx, p)
			if name == "killed" && !errors.Is(err, stopped) || name == "ended" && (err != nil || string(out) != "done\n") {
				t.Errorf("%q %v", out, err)
			}
			text, _ := os.ReadFile(pids)
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			for running(pid) { // the test's own deadline ends this
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// Who leaves the group and keeps the output open does not hold up the answer.
func TestProgramWhoseDescendantKeepsTheOutput(t *testing.T) {
	if _, err := os.Stat("/usr/bin/setsid"); err != nil {
		t.Skip("skipped: there is no setsid")
	}
	out, _, err := RunProgram(t.Context(), sh(`setsid sh -c 'echo $$ >&2; exec sleep 3' & sleep 0.1; echo done`, ""))
	if err != nil || string(out) != "done\n" {
		t.Errorf("%q %v", out, err)
	}
}

// running says whether a process is at work: an orphan that nobody waits for is not.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, after, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(after, "Z")
}
