package sandbox

import (
	"context"
	"crypto/rand"
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
	"jird/sandbox/wire"
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

	key  uint64   // what the zygote must know to fork
	home uint64   // its network namespace, which only its own shadows share
	live children // the shadows

	mu      sync.Mutex // one fork at a time on the control channel
	control *os.File

	once   sync.Once
	broken error         // why no shadow can be started any more, once down is closed
	down   chan struct{} // closed by fail
}

// ErrClosed is returned by Start of an engine that has been closed.
var ErrClosed = errors.New("the engine is closed")

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
	z := &Zygote{options: o, plan: plan, said: &tail{limit: o.Output}, control: os.NewFile(uintptr(pair[0]), "zygote control"), down: make(chan struct{})}
	var key [8]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	z.key = binary.NativeEndian.Uint64(key[:])
	slots := 0
	if plan.Workspace > 0 {
		slots = o.Slots
		z.slots = make(chan int, slots)
	}
	build := func(dir string) (*packed, error) { return z.pack(ctx, im, dir) }
	jail := o.jail(plan, isolation.Zygote, slots)
	jail.ForkKey = z.key
	z.proc, err = start(jail, build, o.argv(plan), []*os.File{boot.theirs[0], theirs}, z.said, z.said, true)
	if err != nil {
		z.control.Close()
		return nil, err
	}
	boot.closeTheirs()
	if im.Later != nil {
		err = z.sendLater(ctx, im, boot.frames)
	}
	if err == nil {
		err = z.ready(ctx, boot.frames)
	}
	if err != nil {
		z.Close()
		return nil, z.explain(err)
	}
	go func() { // its shadows live on, but there will be no more
		<-z.proc.done
		_ = z.fail(fmt.Errorf("the zygote does not serve any more, its process ended (%v)%s", z.proc.cmd.ProcessState, quoted(z.said.String())))
	}()
	for slot := range slots {
		z.free(slot) // emptied of what the agent's code may have left while it loaded
	}
	return z, nil
}

// sendLater gives the process its memory. One that has ended says why in ready.
func (z *Zygote) sendLater(ctx context.Context, im Image, frames *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = frames.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err := im.sendLater(ctx, frames)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

// ready waits until the image is loaded, and sees that nothing but the zygote
// came of it.
func (z *Zygote) ready(ctx context.Context, frames *os.File) (err error) {
	if z.cases, err = readReady(ctx, frames, z.options.Wall); err != nil || z.plan.Level == isolation.None {
		return err
	}
	if z.home, err = network(z.PID()); err != nil {
		return fmt.Errorf("looking at the zygote's namespaces: %w", err)
	}
	if extra := inNetwork(z.home); len(extra) != 1 {
		return fmt.Errorf("%w: %d processes after loading, one was expected", wire.ErrGarbage, len(extra))
	}
	return nil
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

// Down implements Engine.
func (z *Zygote) Down() <-chan struct{} { return z.down }

// Cases implements Engine.
func (z *Zygote) Cases() []string { return z.cases }

// PID is the zygote's process.
func (z *Zygote) PID() int { return z.proc.cmd.Process.Pid }

// Start forks a shadow. If the images have workspaces and all are in use, it
// waits for one. An error other than ctx's is for good: the zygote is gone or
// not to be trusted, and a new engine must be opened.
func (z *Zygote) Start(ctx context.Context) (*Shadow, error) {
	slot := 0
	if z.slots != nil {
		select {
		case slot = <-z.slots:
		case <-z.down:
			return nil, z.broken
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s, err := z.fork(ctx, slot)
	if err != nil {
		return nil, fmt.Errorf("forking a shadow: %w", err)
	}
	if err := s.greet(ctx, z.plan.Level == isolation.Full); err != nil {
		return nil, err
	}
	return s, nil
}

func (z *Zygote) fork(ctx context.Context, slot int) (s *Shadow, err error) {
	defer func() {
		if s == nil {
			z.free(slot)
		}
	}()
	c, err := newChannels()
	if err != nil {
		return nil, err
	}
	if z.options.Counters {
		if err := c.addPage(); err != nil {
			c.closeAll()
			return nil, err
		}
	}
	proc, err := z.request(ctx, slot, c)
	c.closeTheirs()
	if err != nil {
		c.closeAll()
		return nil, err
	}
	s = adopt(proc, slot, c, z.options, &z.live, func() { z.free(slot) })
	if !z.live.add(s) {
		s.Kill()
		return s, ErrClosed
	}
	return s, nil
}

// fail makes every later Start fail with err.
func (z *Zygote) fail(err error) error {
	z.once.Do(func() {
		z.broken = err
		close(z.down)
	})
	return z.broken
}

// forkDeadline bounds, with the engine's own, the wait for a zygote's answer: it
// takes a millisecond.
const forkDeadline = 10 * time.Second

// request has the zygote fork, once. An exchange that did not end leaves an
// answer under way that would be taken for the next one's, so then no other is
// begun; for the same reason ctx cannot interrupt it.
func (z *Zygote) request(ctx context.Context, slot int, c *channels) (*os.Process, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	select {
	case <-z.down:
		return nil, z.broken
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pid, err := z.exchange(slot, c)
	if err != nil {
		return nil, z.fail(fmt.Errorf("%w; the zygote does not serve any more%s", err, quoted(z.said.String())))
	}
	if pid < 0 {
		return nil, fmt.Errorf("the zygote's clone failed: %w", syscall.Errno(-pid))
	}
	// The number comes from a process that has run the agent's code: it must not
	// make jird kill whom it likes. A process of the zygote's own network can only
	// be the zygote, or come from it; then the id cannot be reused, for nobody
	// else waits for our children.
	proc, err := os.FindProcess(int(pid))
	if err != nil {
		return nil, z.fail(err)
	}
	if z.plan.Level == isolation.None {
		return proc, nil
	}
	if home, err := network(int(pid)); err != nil || home != z.home || int(pid) == z.PID() {
		_ = proc.Release()
		return nil, z.fail(fmt.Errorf("%w: the zygote named process %d, which is not its shadow", wire.ErrGarbage, pid))
	}
	return proc, nil
}

// exchange sends one request, (slot, key) with the shadow's descriptors, and
// reads the process id, or the negative errno of clone.
func (z *Zygote) exchange(slot int, c *channels) (int64, error) {
	if err := z.control.SetDeadline(time.Now().Add(min(forkDeadline, z.options.Wall))); err != nil {
		return 0, err
	}
	var message [16]byte
	binary.NativeEndian.PutUint64(message[:8], z.key)
	binary.NativeEndian.PutUint64(message[8:], uint64(slot))
	var fds []int
	for _, f := range c.theirs {
		if f != nil {
			fds = append(fds, int(f.Fd()))
		}
	}
	rights := unix.UnixRights(fds...)
	raw, err := z.control.SyscallConn()
	if err != nil {
		return 0, err
	}
	var sent error
	if err := raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), message[:], rights, nil, unix.MSG_NOSIGNAL)
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
	return int64(binary.NativeEndian.Uint64(reply[:])), nil
}

// free makes a workspace empty and available. A shadow could not leave it, so
// neither can what it left there.
func (z *Zygote) free(slot int) {
	if z.slots == nil {
		return
	}
	if err := emptyDir(z.Workspace(slot)); err != nil {
		_ = z.fail(fmt.Errorf("emptying workspace %d: %w", slot, err))
		return
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

// Close implements Engine. It ends the zygote, its shadows, and whatever else
// came of it.
func (z *Zygote) Close() {
	_ = z.fail(ErrClosed)
	z.mu.Lock() // a fork under way must be adopted, or nobody would wait for its child
	_ = z.control.Close()
	z.mu.Unlock()
	z.proc.kill()
	z.live.close()
	if z.home == 0 {
		return
	}
	for range 100 { // what forks while it is being killed has more than one life
		strays := inNetwork(z.home)
		if len(strays) == 0 {
			return
		}
		for _, pid := range strays {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
	}
}
