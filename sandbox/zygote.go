package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"jird/sandbox/isolation"
	"jird/snapshots/sexpr"
)

// Zygote is a warmed-up, confined process from which shadows are forked.
type Zygote struct {
	options Options
	plan    isolation.Plan
	proc    *process
	cases   []string
	said    *tail
	slots   chan int // free workspaces; nil without any

	mu      sync.Mutex // one fork at a time on the control channel
	control *os.File
}

var _ Engine = (*Zygote)(nil)

// OpenZygote compiles what is not yet compiled, starts a zygote and waits until
// it has loaded the image.
func OpenZygote(ctx context.Context, o Options, im Image) (*Zygote, error) {
	o = o.withDefaults()
	plan, err := isolation.Decide(o.Policy, isolation.Probe())
	if err != nil {
		return nil, err
	}
	boot, err := newChannels() // only its frames are used
	if err != nil {
		return nil, err
	}
	defer boot.closeAll()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making the zygote's control channel: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "zygote control, its end")
	defer theirs.Close()
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, err
	}
	z := &Zygote{options: o, plan: plan, said: &tail{limit: o.Output}, control: os.NewFile(uintptr(pair[0]), "zygote control")}
	slots := 0
	if plan.Workspace > 0 {
		slots = o.Slots
		z.slots = make(chan int, slots)
		for slot := range slots {
			z.slots <- slot
		}
	}
	build := func(dir string) (*packed, error) { return z.pack(ctx, im, dir) }
	z.proc, err = start(o.jail(plan, isolation.Zygote, slots), build, o.argv(plan), []*os.File{boot.theirs[0], theirs}, z.said, z.said, true)
	if err != nil {
		z.control.Close()
		return nil, err
	}
	boot.closeTheirs()
	if z.cases, err = readReady(ctx, boot.frames, o.Wall); err != nil {
		z.Close()
		return nil, z.explain(err)
	}
	return z, nil
}

func (z *Zygote) pack(ctx context.Context, im Image, dir string) (*packed, error) {
	objects := z.options.objects(ctx)
	if objects == nil {
		return nil, errors.New("forking needs gsc and a C compiler; install them (Debian: apt-get install gambc gcc), or let jird spawn")
	}
	filter, err := isolation.ShadowFilter()
	if err != nil {
		return nil, err
	}
	isolate := 0
	if z.plan.Level == isolation.Full {
		isolate = 1
	}
	workspace := 0
	if z.plan.Workspace > 0 {
		workspace = 1
	}
	configure := sexpr.List{sexpr.List{
		number(int64(isolate)), number(int64(workspace)), number(int64(os.Getpid())), sexpr.String(dir + "/shadow.bpf"),
		number(int64(z.plan.LandlockFS)), number(int64(z.plan.LandlockNet)), number(int64(z.plan.LandlockScope)),
	}}
	for _, l := range z.plan.Rlimits {
		configure = append(configure, cons(number(int64(l.Kind)), number(l.Value)))
	}
	p, err := im.pack(dir, objects, configure)
	if err != nil {
		return nil, err
	}
	p.add("shadow.bpf", filter)
	return p, nil
}

// explain adds what the zygote itself printed to an error of a start that said
// nothing of use.
func (z *Zygote) explain(err error) error {
	var load *LoadError
	if errors.As(err, &load) {
		return err
	}
	<-z.proc.done
	return fmt.Errorf("starting the zygote: %w (%v)%s", err, z.proc.cmd.ProcessState, quoted(z.said.String()))
}

// Cases implements Engine.
func (z *Zygote) Cases() []string { return z.cases }

// PID is the zygote's process.
func (z *Zygote) PID() int { return z.proc.cmd.Process.Pid }

// Start forks a shadow.
func (z *Zygote) Start(ctx context.Context) (*Shadow, error) {
	slot := 0
	if z.slots != nil {
		select {
		case slot = <-z.slots:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s, err := z.fork(slot)
	if err != nil {
		z.free(slot)
		return nil, fmt.Errorf("forking a shadow: %w", err)
	}
	if err := s.greet(ctx, z.plan.Level == isolation.Full); err != nil {
		return nil, err
	}
	return s, nil
}

func (z *Zygote) fork(slot int) (*Shadow, error) {
	c, err := newChannels()
	if err != nil {
		return nil, err
	}
	pid, err := z.request(slot, c)
	c.closeTheirs()
	if err != nil {
		c.closeAll()
		return nil, err
	}
	// Nobody else waits for our children, so the id cannot have been reused.
	proc, err := os.FindProcess(pid)
	if err != nil {
		c.closeAll()
		return nil, err
	}
	return adopt(proc, slot, c, z.options.Output, z.options.Wall, func() { z.free(slot) }), nil
}

// forkDeadline bounds the wait for a zygote's answer: it takes a millisecond.
const forkDeadline = 10 * time.Second

func (z *Zygote) request(slot int, c *channels) (int, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.control.SetDeadline(time.Now().Add(forkDeadline)); err != nil {
		return 0, err
	}
	var message [4]byte
	binary.NativeEndian.PutUint32(message[:], uint32(slot))
	rights := unix.UnixRights(int(c.theirs[0].Fd()), int(c.theirs[1].Fd()), int(c.theirs[2].Fd()))
	raw, err := z.control.SyscallConn()
	if err != nil {
		return 0, err
	}
	var sent error
	if err := raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), message[:], rights, nil, 0)
		return !errors.Is(sent, unix.EAGAIN)
	}); err != nil {
		return 0, err
	}
	if sent != nil {
		return 0, fmt.Errorf("asking the zygote: %w", sent)
	}
	var reply [8]byte
	if _, err := io.ReadFull(z.control, reply[:]); err != nil {
		return 0, fmt.Errorf("waiting for the zygote: %w", err)
	}
	pid := int64(binary.NativeEndian.Uint64(reply[:]))
	if pid < 0 {
		return 0, fmt.Errorf("the zygote's clone failed: %w", syscall.Errno(-pid))
	}
	return int(pid), nil
}

// free makes a workspace empty and available. A shadow could not leave it, so
// neither can what it left there.
func (z *Zygote) free(slot int) {
	if z.slots == nil {
		return
	}
	if err := emptyDir(z.Workspace(slot)); err != nil {
		return // a slot that cannot be emptied is not used again
	}
	z.slots <- slot
}

// Workspace is the folder of a slot as this process sees it, while the zygote
// lives.
func (z *Zygote) Workspace(slot int) string {
	if z.plan.Level == isolation.None {
		return fmt.Sprintf("%s%s/%d", z.proc.dir, isolation.WorkDir, slot)
	}
	return fmt.Sprintf("/proc/%d/root%s/%d", z.PID(), isolation.WorkDir, slot)
}

func emptyDir(path string) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	dir.Close()
	for _, name := range names {
		err = errors.Join(err, root.RemoveAll(name))
	}
	return err
}

// Close implements Engine.
func (z *Zygote) Close() {
	z.mu.Lock()
	defer z.mu.Unlock()
	_ = z.control.Close()
	z.proc.kill()
}
