// Package isolation decides how a process that runs evolved code is confined,
// and confines it.
//
// The decision (Decide) is a pure function of what is asked and what the
// machine can do, so that it can be read and tested by itself. Enforcement is
// thin: Jail.Enter, called in a process that is about to become a zygote, and a
// few system calls in the zygote's C part after each fork.
//
// The promise at level Full: no network, no other file than the process's own
// workspace, no new process, no signal to others, no capabilities, bounded
// memory, descriptors and file size. Where the machine cannot do that, Decide
// fails; it never gives less than was asked.
//
// Not promised: protection from bugs of the kernel, or from what can be learned
// by timing.
package isolation

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Level is how strongly a process is confined.
type Level string

// The levels. None is for machines that cannot isolate and for tests that show
// that a probe works; it must be asked for by name and shows in every report.
const (
	Full Level = "full"
	None Level = "none"
)

// ErrUnavailable is wrapped by every refusal of Decide.
var ErrUnavailable = errors.New("isolation unavailable")

// Policy is what a user asks for.
type Policy struct {
	Level     Level
	Heap      int64         // bytes the runtime's heap may reach; 0: 64 MiB
	CPU       time.Duration // of the whole process; 0: not limited here
	OpenFiles int           // descriptors at once; 0: 16
	Workspace int64         // bytes of a writable folder per shadow; 0: none
}

// Machine is what the kernel offers to this process.
type Machine struct {
	Root       bool // may create namespaces without a user namespace
	Namespaces bool // mount, network, IPC and UTS (with a user namespace if not Root)
	Landlock   int  // ABI version, 0 where there is none
	Seccomp    bool
}

// Rlimit is one resource limit, hard and soft alike, as setrlimit(2) takes it.
type Rlimit struct {
	Kind  int
	Value int64
}

// Plan says what to do. All numbers are as the system calls take them.
type Plan struct {
	Level         Level
	UserNamespace bool
	Heap          int64
	Workspace     int64
	LandlockFS    uint64 // handled access rights, of which none is granted
	LandlockNet   uint64
	LandlockScope uint64
	Rlimits       []Rlimit
}

// Numbers of setrlimit(2) on Linux, for every architecture that Go supports
// there but MIPS and SPARC.
const (
	rlimitCPU     = 0
	rlimitFSize   = 1
	rlimitCore    = 4
	rlimitNProc   = 6
	rlimitNoFile  = 7
	rlimitMemlock = 8
	rlimitAS      = 9
)

const (
	defaultHeap  = 64 << 20
	defaultFiles = 16
	zygoteFiles  = 64 // the descriptors of a few forks, and of what it loads
	// RLIMIT_AS is only the backstop behind the runtime's own heap limit: where
	// it acts alone, a runaway allocation thrashes in the collector for tens of
	// seconds. The collector copies, so the process may hold the heap twice over
	// and more.
	addressSpaceFactor = 4
	addressSpaceBase   = 512 << 20 // code, libraries, stacks
)

// landlockFS returns the file rights that an ABI version can handle
// (Documentation/userspace-api/landlock.rst of the kernel).
func landlockFS(abi int) uint64 {
	bits := 13
	switch {
	case abi >= 5:
		bits = 16 // ioctl on devices
	case abi >= 3:
		bits = 15 // truncate
	case abi == 2:
		bits = 14 // refer
	}
	return 1<<bits - 1
}

// Decide returns the plan for a policy on a machine. The error wraps
// ErrUnavailable and names everything that is missing.
func Decide(p Policy, m Machine) (Plan, error) {
	plan := Plan{Level: p.Level, Heap: p.Heap, Workspace: p.Workspace}
	if plan.Heap == 0 {
		plan.Heap = defaultHeap
	}
	switch p.Level {
	case None:
		return plan, nil
	case Full:
	default:
		return Plan{}, fmt.Errorf("isolation level %q is not known: use %q or %q", p.Level, Full, None)
	}
	if missing := missing(m); len(missing) > 0 {
		return Plan{}, fmt.Errorf("%w: this machine has no %s; run on a kernel that has it, or accept weaker isolation by name with --isolation none", ErrUnavailable, strings.Join(missing, ", no "))
	}
	plan.Rlimits = rlimits(p, plan.Heap)
	plan.UserNamespace = !m.Root
	plan.LandlockFS = landlockFS(m.Landlock)
	if m.Landlock >= 4 {
		plan.LandlockNet = 1<<2 - 1 // TCP bind and connect
	}
	if m.Landlock >= 6 {
		plan.LandlockScope = 1<<2 - 1 // abstract unix sockets, signals
	}
	return plan, nil
}

// Below ABI 4 and 6 Landlock lacks network and signals; the network namespace
// and the seccomp filter deny both without it.
func missing(m Machine) (names []string) {
	if !m.Namespaces {
		names = append(names, "namespaces (mount, network, IPC, UTS)")
	}
	if m.Landlock < 1 {
		names = append(names, "Landlock (Linux 5.13, lsm=landlock)")
	}
	if !m.Seccomp {
		names = append(names, "seccomp filters (CONFIG_SECCOMP_FILTER)")
	}
	return names
}

func rlimits(p Policy, heap int64) []Rlimit {
	files := p.OpenFiles
	if files == 0 {
		files = defaultFiles
	}
	limits := []Rlimit{
		{rlimitFSize, p.Workspace},
		{rlimitCore, 0},
		{rlimitNoFile, int64(files)},
		{rlimitNProc, 0},
		{rlimitMemlock, 0},
		{rlimitAS, addressSpaceFactor*heap + addressSpaceBase},
	}
	if p.CPU > 0 {
		limits = append(limits, Rlimit{rlimitCPU, int64((p.CPU + time.Second - 1) / time.Second)})
	}
	return limits
}

// limits are the resource limits with which a role starts. A zygote's shadows
// take the plan's; the zygote itself may fork, hold the descriptors of several,
// and compute for as long as it serves. A compiler runs programs of which none
// was written for limits as tight as a shadow's.
func (p Plan) limits(role Role) (limits []Rlimit) {
	if role == Compiler {
		return []Rlimit{{rlimitCPU, 120}, {rlimitFSize, 64 << 20}, {rlimitCore, 0}, {rlimitNoFile, 256}, {rlimitNProc, 64}, {rlimitMemlock, 0}, {rlimitAS, 2 << 30}}
	}
	for _, l := range p.Rlimits {
		switch {
		case role == Zygote && (l.Kind == rlimitNProc || l.Kind == rlimitCPU):
			continue
		case role == Zygote && l.Kind == rlimitNoFile:
			l.Value = max(l.Value, zygoteFiles)
		}
		limits = append(limits, l)
	}
	return limits
}

// String is the plan in one line for people: what confines the process.
func (p Plan) String() string {
	if p.Level == None {
		return "none"
	}
	parts := []string{"namespaces", "read-only root", "no capabilities", "rlimits"}
	if p.UserNamespace {
		parts[0] = "user and other namespaces"
	}
	return fmt.Sprintf("full (%s, landlock, seccomp)", strings.Join(parts, ", "))
}
