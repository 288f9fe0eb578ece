package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fake puts a program into a folder.
func fake(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestFindRuntime(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for want, says := range map[string]string{"gambit": "apt-get install gambc", "gerbil": "--runtime gambit", "auto": "apt-get install gambc"} {
		if _, err := FindRuntime(t.Context(), want); !errors.Is(err, ErrNoRuntime) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := FindRuntime(t.Context(), "racket"); err == nil || errors.Is(err, ErrNoRuntime) {
		t.Errorf("racket: %v", err)
	}
	fake(t, dir, "gsi", "echo v4.9.3 20190219 x86_64")
	if r, err := FindRuntime(t.Context(), "auto"); err != nil || r.String() != "gambit 4.9.3" || r.Compiler != "" {
		t.Errorf("gambit alone: %+v, %v", r, err)
	}
	fake(t, dir, "gsc", "exit 1")
	fake(t, dir, "gcc", "exit 1")
	if r, err := FindRuntime(t.Context(), "gambit"); err != nil || r.Compiler != filepath.Join(dir, "gsc") {
		t.Errorf("with compilers: %+v, %v", r, err)
	}
	fake(t, dir, "gxi", "echo Gerbil v0.18.1 on Gambit v4.9.7")
	if r, err := FindRuntime(t.Context(), "auto"); err != nil || r.String() != "gerbil 0.18.1" {
		t.Errorf("both: %+v, %v", r, err)
	}
	fake(t, dir, "gxi", "echo what")
	if _, err := FindRuntime(t.Context(), "gerbil"); err == nil || !strings.Contains(err.Error(), "what") {
		t.Errorf("no version: %v", err)
	}
}

// A jail shows the runtime's folder, never the user's.
func TestSystemFolders(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	for interpreter, want := range map[string]string{
		"/usr/bin/gsi": "", "/usr/local/bin/gsi": "", "/opt/gerbil/bin/gxi": "/opt/gerbil", "/home/me/gerbil/bin/gxi": "/home/me/gerbil",
		"/home/me/bin/gsi": "/home/me/bin", "/home/bin/gsi": "/home/bin", "/bin/gsi": "/bin",
	} {
		dirs := Runtime{Interpreter: interpreter}.system()
		if want != "" && !slices.Contains(dirs, want) {
			t.Errorf("%s: %v, without %s", interpreter, dirs, want)
		}
		for _, private := range []string{"/", "/home", "/home/me", "/etc", "/root", "/proc"} {
			if slices.Contains(dirs, private) {
				t.Errorf("%s: shows %s", interpreter, private)
			}
		}
	}
}
