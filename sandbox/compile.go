package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"jird/sandbox/isolation"
)

// Compiler compiles Scheme sources to loadable objects, and keeps them in a
// cache by the hash of source and compiler and its options. Compiling runs an agent's macros,
// so it is jailed too. Safe for concurrent use.
type Compiler struct {
	Runtime Runtime
	Cache   string // folder of compiled objects
	Level   isolation.Level

	mu sync.Mutex // one compilation at a time: it takes both cores as it is
}

// What one source may take, in time and in bytes of compiled code. A compilation has 120 s
// of processor time (see isolation), which a busy machine may be long in giving.
const (
	compileLimit = 10 * time.Minute
	objectLimit  = 64 << 20
)

// Cache returns the folder of compiled objects for a state folder: that of the user,
// whose state folders all share them, or one in the state folder if there is no such
// folder to be written: a service may have no $HOME.
func Cache(home string) string {
	if dir, err := os.UserCacheDir(); err == nil {
		dir = filepath.Join(dir, "jird")
		if os.MkdirAll(dir, 0o700) == nil && unix.Access(dir, unix.W_OK) == nil {
			return dir
		}
	}
	return filepath.Join(home, "cache")
}

// Object returns the compiled form of a source and the file name that it must
// have: Gambit finds a module's entry by it.
func (c *Compiler) Object(ctx context.Context, s Source) (name string, object []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\x00%s\x00%s\x00", c.Runtime, c.Runtime.Compiler, compileScript)
	sum.Write(s.Code)
	key := hex.EncodeToString(sum.Sum(nil))
	name = "m" + key[:32] + ".o1"
	path := filepath.Join(c.Cache, key+".o1")
	if object, ok := readCached(path); ok {
		return name, object, nil
	}
	if object, err = c.compile(ctx, s, name); err != nil {
		return "", nil, err
	}
	return name, object, writeCached(path, object)
}

// A cached object is the SHA-256 of what follows, then the object: a damaged
// one is compiled again.
func readCached(path string) ([]byte, bool) {
	data, err := os.ReadFile(path)
	if err != nil || len(data) < sha256.Size {
		return nil, false
	}
	object := data[sha256.Size:]
	sum := sha256.Sum256(object)
	return object, bytes.Equal(sum[:], data[:sha256.Size])
}

func writeCached(path string, object []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	sum := sha256.Sum256(object)
	_, err = f.Write(append(sum[:], object...))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path) // no fsync: a torn object fails its sum
}

func (c *Compiler) compile(ctx context.Context, s Source, name string) ([]byte, error) {
	plan, err := isolation.Decide(isolation.Policy{Level: c.Level}, isolation.Probe())
	if err != nil {
		return nil, err
	}
	build := func(string) (*packed, error) {
		p := &packed{}
		p.add("source.scm", s.Code)
		p.add("compile.scm", fmt.Appendf(nil, compileScript, name))
		return p, nil
	}
	jail := isolation.Jail{Plan: plan, Role: isolation.Compiler, Parent: os.Getpid(), System: c.Runtime.system(), Program: c.Runtime.Compiler}
	// The object goes to stdout, what gsc and the C compiler say to stderr.
	script := `t=$(mktemp -d) && cd "$t" && cp "$2/source.scm" . && "$1" -:f8,-8 -i "$2/compile.scm" 1>&2 </dev/null && cat "$3"; s=$?; rm -rf "$t"; exit $s`
	argv := []string{"/bin/sh", "-c", script, "compile", c.Runtime.Compiler, isolation.ImageDir, name}
	object := &tail{limit: objectLimit}
	said := &tail{limit: 4096}
	p, err := start(jail, build, argv, nil, object, said, true)
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", s.Name, err)
	}
	select {
	case <-p.done:
		p.cleanup()
	case <-ctx.Done():
		p.kill()
		return nil, ctx.Err()
	case <-time.After(compileLimit):
		p.kill()
		return nil, fmt.Errorf("compiling %s: not done within %v", s.Name, compileLimit)
	}
	if p.err != nil {
		return nil, &LoadError{Step: s.Name, Message: compileMessage(said.String(), s.Name)}
	}
	if object.cut {
		return nil, &LoadError{Step: s.Name, Message: fmt.Sprintf("the compiled code has more than %d bytes", objectLimit)}
	}
	return object.data, nil
}

// compileScript has gsc say what it cannot read: by itself it loses the message,
// and may wait for ever for somebody to mend it. With -O1 the C compiler takes half
// the time that it takes with Debian's -O2, and the code is as fast; without Debian's -g
// it takes three quarters of that, and the object half the bytes.
const compileScript = `(with-exception-catcher
 (lambda (e)
  (display-exception e (current-error-port))
  (force-output (current-error-port))
  (exit 70))
 (lambda ()
  (exit (if (compile-file "source.scm" output: %q cc-options: "-O1 -g0") 0 71))))
`

// compileMessage names the user's file where gsc names its own copy, and leaves
// out lines that only say that compiling failed.
func compileMessage(said, name string) string {
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(said), "\n") {
		if i := strings.Index(line, "source.scm"); i >= 0 && strings.HasPrefix(line, "***") {
			if q := strings.IndexByte(line, '"'); q >= 0 && q < i {
				line = line[:q+1] + name + line[i+len("source.scm"):]
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines[:min(len(lines), 8)], "\n")
}

// LoadError says that an agent's code, or its referee's cases, could not be
// loaded: the fault is in the agent's folder, not in jird.
type LoadError struct {
	Step    string // the file, or "fitness-cases"
	Message string // what the runtime or the compiler said
}

func (e *LoadError) Error() string { return fmt.Sprintf("%s: %s", e.Step, e.Message) }
