package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"jird/sandbox"
)

// What a person types and reads, as scripts: testdata/*.txtar. `ends N jird ...`
// runs jird and wants that status.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("JIRD_HOME", "home")
			cache, err := os.UserCacheDir() // a script's own $HOME is nowhere
			e.Setenv("XDG_CACHE_HOME", cache)
			e.Vars = append(e.Vars, noSleep)
			return err
		},
		Condition: func(name string) (bool, error) {
			if name != "scheme" {
				return false, errors.New("unknown condition")
			}
			_, err := sandbox.FindRuntime(t.Context(), "auto")
			return err == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"ends": ends, "flip": flip},
	})
}

func ends(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v: status %d, want %d", args[1:], got, want)
	}
}

// flip FILE OFFSET BYTES overwrites bytes of a file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	at, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	_, err = f.WriteAt([]byte(args[2]), at)
	ts.Check(err)
}
