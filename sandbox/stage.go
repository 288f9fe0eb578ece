package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"jird/sandbox/isolation"
)

// stageName is the argument by which a copy of this program knows that it is to
// become a jailed process.
const stageName = "jird-stage"

// stageInput is the descriptor on which a stage reads its jail and image.
const stageInput = 5

// stageOrder is the first line, as JSON, on a stage's input; the image follows.
type stageOrder struct {
	Jail isolation.Jail
	Argv []string
}

// Stage turns this process into a jailed one if it was started as such, and
// then never returns. Otherwise it only keeps inherited descriptors from the
// programs that will be started. Call it first in main.
func Stage() {
	stage := len(os.Args) > 0 && os.Args[0] == stageName
	first := uint(3)
	if stage {
		first = stageInput
	}
	// What this program was started with is not for those that it starts.
	if err := unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && stage {
		fmt.Fprintf(os.Stderr, "jird: stage: marking descriptors: %v\n", err)
		os.Exit(stageFailed)
	}
	if !stage {
		return
	}
	fmt.Fprintf(os.Stderr, "jird: stage: %v\n", becomeJailed())
	os.Exit(stageFailed)
}

// stageFailed is the status of a stage that could not confine itself.
const stageFailed = 97

func becomeJailed() error {
	input := os.NewFile(stageInput, "stage input")
	data, err := io.ReadAll(input)
	if err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	line, image, _ := bytes.Cut(data, []byte("\n"))
	var order stageOrder
	if err := json.Unmarshal(line, &order); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	return order.Jail.Enter(bytes.NewReader(image), order.Argv, jailedEnv)
}

// jailedEnv is all that a jailed process learns of the host's environment.
var jailedEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8"}

// process is a started program that is not a shadow: a zygote or a compiler.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait, valid after done
	dir  string
	wait bool
}

// start runs argv jailed (or, at level None, in a temporary folder), with extra
// as descriptors 3 and up. The argv may name isolation.ImageDir; without a jail
// it is replaced by the folder. The returned process is waited for.
func start(jail isolation.Jail, build func(dir string) (*packed, error), argv []string, extra []*os.File, stdout, stderr io.Writer, wait bool) (*process, error) {
	p := &process{done: make(chan struct{}), wait: wait}
	var input []byte
	if jail.Plan.Level == isolation.None {
		dir, err := unpackTemp(jail, build)
		if err != nil {
			return nil, err
		}
		p.dir = dir
		for i := range argv {
			argv[i] = strings.ReplaceAll(argv[i], isolation.ImageDir, dir)
		}
		p.cmd = exec.Command(argv[0], argv[1:]...)
		p.cmd.Dir = dir
	} else {
		var err error
		if input, err = stageBytes(jail, build, argv); err != nil {
			return nil, err
		}
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		p.cmd = &exec.Cmd{Path: self, Args: []string{stageName}}
	}
	p.cmd.Env = jailedEnv
	p.cmd.SysProcAttr = jail.Plan.ProcAttr(jail.Role == isolation.Compiler)
	p.cmd.ExtraFiles = extra
	p.cmd.WaitDelay = drainGrace
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	if err := p.run(input); err != nil {
		p.cleanup()
		return nil, err
	}
	return p, nil
}

func stageBytes(jail isolation.Jail, build func(dir string) (*packed, error), argv []string) ([]byte, error) {
	image, err := build(isolation.ImageDir)
	if err != nil {
		return nil, err
	}
	archive, err := image.tar()
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(stageOrder{Jail: jail, Argv: argv})
	if err != nil {
		return nil, err
	}
	return append(append(order, '\n'), archive...), nil
}

func unpackTemp(jail isolation.Jail, build func(dir string) (*packed, error)) (string, error) {
	dir, err := os.MkdirTemp("", "jird-unconfined-")
	if err != nil {
		return "", err
	}
	image, err := build(dir)
	if err == nil {
		for _, name := range image.names {
			if err == nil {
				err = os.WriteFile(dir+"/"+name, image.data[name], 0o600)
			}
		}
	}
	for slot := range jail.Slots {
		if err == nil {
			err = os.MkdirAll(fmt.Sprintf("%s/work/%d", dir, slot), 0o700)
		}
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return dir, nil
}

// run starts the command on the starter's thread, which lives as long as this
// program: PR_SET_PDEATHSIG, in the process and in the shadows that it forks,
// fires when the creating thread ends, not when the program does.
func (p *process) run(input []byte) error {
	var feed *os.File
	if input != nil {
		read, write, err := os.Pipe()
		if err != nil {
			return err
		}
		defer read.Close()
		feed = write
		for len(p.cmd.ExtraFiles)+3 < stageInput {
			p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, nil)
		}
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, read)
	}
	err := onStarter(p.cmd.Start)
	if err == nil && p.wait {
		go func() {
			p.err = p.cmd.Wait()
			close(p.done)
		}()
	}
	if feed != nil {
		defer feed.Close()
		if err == nil {
			// A stage that ends early says why by its status; EPIPE adds nothing.
			_, _ = feed.Write(input)
		}
	}
	return err
}

// starter is one goroutine locked to one thread for the life of the program. It
// is parked but for the moments in which it starts a process.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func onStarter(f func() error) error {
	done := make(chan error)
	starter() <- func() { done <- f() }
	return <-done
}

func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
	p.cleanup()
}

func (p *process) cleanup() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// tail keeps the first bytes written to it, for messages and artifacts.
type tail struct {
	mu    sync.Mutex
	limit int
	data  []byte
	cut   bool
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keep := min(len(b), t.limit-len(t.data))
	t.data = append(t.data, b[:keep]...)
	t.cut = t.cut || keep < len(b)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
