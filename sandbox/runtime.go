// Package sandbox runs agents: it starts Scheme processes, forks isolated
// shadows of them, talks with them, and ends them.
//
// It promises that a shadow is a child of this process, confined as its plan
// says before it sees any evolved code, that it ends by its deadline or with
// this process, and that how it ended is reported. It keeps no opinion on what
// an outcome means: the layers above do.
//
// It is the only package that starts programs. Stage must be called first in
// main: a zygote begins as a copy of the running program.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Runtime is an installed Scheme system.
type Runtime struct {
	Name        string // "gambit" or "gerbil"
	Version     string // as the runtime says it, e.g. "4.9.3"
	Interpreter string // gsi or gxi, resolved
	Compiler    string // the gsc beside it, resolved; empty when compiling is impossible
	Why         string // for people: how it was chosen
}

// String is name and version, as recorded in ledgers.
func (r Runtime) String() string { return r.Name + " " + r.Version }

// ErrNoRuntime is wrapped when the wanted runtime is not installed.
var ErrNoRuntime = errors.New("no Scheme runtime")

// FindRuntime looks for a runtime on PATH: "gambit", "gerbil", or "auto", which
// takes Gerbil where it is installed and Gambit elsewhere.
func FindRuntime(ctx context.Context, want string) (Runtime, error) {
	switch want {
	case "gambit":
		return findGambit(ctx)
	case "gerbil":
		return findGerbil(ctx)
	case "auto", "":
		if r, err := findGerbil(ctx); err == nil {
			r.Why = "auto: gxi is installed"
			return r, nil
		}
		r, err := findGambit(ctx)
		r.Why = "auto: gxi is not installed, gsi is"
		return r, err
	}
	return Runtime{}, fmt.Errorf("runtime %q is not known: use auto, gambit or gerbil", want)
}

func findGambit(ctx context.Context) (Runtime, error) {
	path, err := resolve("gsi")
	if err != nil {
		return Runtime{}, fmt.Errorf("%w: gsi is not on PATH; install Gambit (Debian: apt-get install gambc)", ErrNoRuntime)
	}
	r := Runtime{Name: "gambit", Interpreter: path, Why: "asked for"}
	if r.Version, err = sayVersion(ctx, path, "-v"); err != nil {
		return Runtime{}, err
	}
	r.Compiler = findCompiler(path, "gsc")
	return r, nil
}

func findGerbil(ctx context.Context) (Runtime, error) {
	path, err := resolve("gxi")
	if err != nil {
		return Runtime{}, fmt.Errorf("%w: gxi is not on PATH; install Gerbil (https://cons.io), or use --runtime gambit", ErrNoRuntime)
	}
	r := Runtime{Name: "gerbil", Interpreter: path, Why: "asked for"}
	if r.Version, err = sayVersion(ctx, path, "--version"); err != nil {
		return Runtime{}, err
	}
	// Objects load only into the Gambit that compiled them: Gerbil's own gsc
	// stands beside gxi, and another one on PATH would be the wrong one.
	r.Compiler = findCompiler(path, "gsc")
	return r, nil
}

func resolve(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// findCompiler returns the gsc of the interpreter's own folder, if a C compiler
// is installed for it to call.
func findCompiler(interpreter, name string) string {
	if _, err := exec.LookPath("gcc"); err != nil {
		return ""
	}
	for _, dir := range []string{filepath.Dir(interpreter)} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			if real, err := filepath.EvalSymlinks(path); err == nil {
				return real
			}
		}
	}
	return ""
}

var versionPattern = regexp.MustCompile(`v?(\d+\.\d+[0-9A-Za-z.\-]*)`)

func sayVersion(ctx context.Context, path, flag string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, flag).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", path, err)
	}
	m := versionPattern.FindStringSubmatch(string(out))
	if m == nil {
		return "", fmt.Errorf("asking %s for its version: it answered %q", path, strings.TrimSpace(string(out)))
	}
	return m[1], nil
}

// system returns the host folders that the runtime needs to see.
func (r Runtime) system() []string {
	dirs := []string{"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/alternatives", "/etc/ld.so.cache"}
	prefix := filepath.Dir(filepath.Dir(r.Interpreter)) // …/bin/gxi
	if strings.HasPrefix(prefix+"/", "/usr/") {
		return dirs
	}
	home, _ := os.UserHomeDir()
	if prefix == "/" || strings.HasPrefix(home+"/", prefix+"/") {
		// The runtime stands in the user's own bin: what is beside it is the user's.
		return append(dirs, filepath.Dir(r.Interpreter))
	}
	return append(dirs, prefix)
}

// leastHeap is what the runtime's heap starts with, in KiB. Left to itself Gambit
// takes the size of the processor's cache, so that a shadow which needs 5 MiB
// fills 70 before it first collects.
const leastHeap = 4096

// options are the runtime's own: least and greatest heap in KiB, sources in UTF-8,
// and the console on standard input and output. Without that Gambit opens /dev/tty
// to warn of a variable that a file uses before another defines it, and where there
// is none the file does not load.
func (r Runtime) options(heap int64) string {
	return fmt.Sprintf("-:m%d,h%d,d-,f8,-8", leastHeap, heap>>10)
}
