package isolation

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	allowed = unix.SECCOMP_RET_ALLOW
	refused = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	killed  = unix.SECCOMP_RET_KILL_PROCESS
)

type machine struct {
	t    *testing.T
	vm   *bpf.VM
	arch *arch.Info
}

func newMachine(t *testing.T, rules []rule) machine {
	t.Helper()
	code, err := program(rules)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	return machine{t, vm, info}
}

// raw runs the filter on a struct seccomp_data. The simulator reads words as
// big-endian; on the machine they are in its own order, halves included.
func (m machine) raw(id, number uint32, args ...uint64) uint32 {
	m.t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNumber:], number)
	binary.BigEndian.PutUint32(data[offArch:], id)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
		if bigEndian() {
			binary.BigEndian.PutUint64(data[offArgs+8*i:], a)
		}
	}
	got, err := m.vm.Run(data)
	if err != nil {
		m.t.Fatal(err)
	}
	return uint32(got)
}

func (m machine) call(name string, args ...uint64) uint32 {
	m.t.Helper()
	number, ok := m.arch.SyscallNames[name]
	if !ok {
		m.t.Skipf("skipped: %s has no %s", m.arch.Name, name)
	}
	return m.raw(uint32(m.arch.ID), uint32(number), args...)
}

var (
	jail     = Jail{ForkKey: 0x1122334455667788}
	execKey  = uint64(0x99aabbccddeeff01)
	roles    = map[string][]rule{"shadow": shadowRules, "server": slices.Concat(shadowRules, startRules(execKey)), "zygote": slices.Concat(shadowRules, startRules(execKey), zygoteRules(jail.ForkKey)), "compiler": slices.Concat(shadowRules, compilerRules())}
	confined = []string{"shadow", "server", "zygote"}
)

// Every call that no rule names is refused, whatever its arguments say.
func TestNothingElseIsAllowed(t *testing.T) {
	for role, rules := range roles {
		m := newMachine(t, rules)
		named := map[string]bool{}
		for _, r := range rules {
			named[r.name] = true
			if _, ok := m.arch.SyscallNames[r.name]; !ok && m.arch.Name == "x86_64" {
				t.Errorf("%s: there is no call %s", role, r.name)
			}
		}
		for name, number := range m.arch.SyscallNames {
			if named[name] {
				continue
			}
			want := refused
			if name == "clone3" {
				want = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
			}
			// An argument that is the number of an allowed call must not be taken for it.
			for _, arg := range []uint64{0, 1, 1 << 32, uint64(unix.SYS_WRITE) << 32} {
				if got := m.raw(uint32(m.arch.ID), uint32(number), arg, arg, arg, arg, arg, arg); got != want {
					t.Errorf("%s: %s gives %#x", role, name, got)
				}
			}
		}
	}
}

func TestForeignCallsKill(t *testing.T) {
	m := newMachine(t, shadowRules)
	for _, id := range []uint32{0, 0x40000003, 0xc00000b7 ^ uint32(m.arch.ID), uint32(m.arch.ID) + 1} {
		if id != uint32(m.arch.ID) && m.raw(id, 1) != killed {
			t.Errorf("architecture %#x is not ended", id)
		}
	}
	if m.arch.ID == arch.X86_64.ID && (m.raw(uint32(m.arch.ID), 0x40000000|39) != killed || m.raw(uint32(m.arch.ID), 0xffffffff) != killed) {
		t.Error("x32 is not ended")
	}
}

func TestConditions(t *testing.T) {
	for role, rules := range roles {
		m := newMachine(t, rules)
		check := func(want bool, name string, args ...uint64) {
			t.Helper()
			if got := m.call(name, args...); (got == allowed) != want {
				t.Errorf("%s: %s%#x gives %#x, should be allowed: %v", role, name, args, got, want)
			}
		}
		for cmd := range uint64(2000) {
			ok := cmd >= unix.F_GETFD && cmd <= unix.F_SETFL
			if role == "compiler" {
				ok = ok || cmd == unix.F_DUPFD || cmd == unix.F_DUPFD_CLOEXEC
			}
			check(ok, "fcntl", 3, cmd)
		}
		for _, cmd := range []uint64{unix.TIOCSTI, 0x8901 /* FIOSETOWN */, 0x8902 /* SIOCSPGRP */, 0x5452 /* FIOASYNC */, 0} {
			check(false, "ioctl", 0, cmd)
		}
		check(true, "ioctl", 0, unix.TCGETS)
		check(true, "ioctl", 0, unix.TCGETS|1<<40) // the kernel takes an int
		check(false, "sendto", 3, 0, 0, unix.MSG_OOB|unix.MSG_NOSIGNAL)
		check(true, "sendto", 3, 0, 0, unix.MSG_NOSIGNAL)
		check(false, "mkdirat", 3, 0, 0)
		check(false, "mkdirat", 3, 0, 0o477)
		check(true, "mkdirat", 3, 0, 0o777)
		check(true, "write", ^uint64(0), ^uint64(0))
	}
	for _, role := range confined {
		m := newMachine(t, roles[role])
		zygote, starts := role == "zygote", role != "shadow"
		for _, c := range []struct {
			want bool
			name string
			args []uint64
		}{
			{starts, "execve", []uint64{1, 1, 1, execKey}}, {false, "execve", []uint64{1, 1, 1, execKey ^ 1}},
			{false, "execve", []uint64{1, 1, 1, execKey ^ 1<<63}}, {false, "execve", []uint64{1, 1, 1, 0}},
			{false, "execve", []uint64{1, 1, 1, uint64(unix.SYS_WRITE) << 32}},
			{starts, "prlimit64", []uint64{0, 7}}, {false, "prlimit64", []uint64{1, 7}}, {false, "prlimit64", []uint64{4242, 0}},
			{zygote, "clone", []uint64{cloneShadow, 0, 0, 0, jail.ForkKey}}, {false, "clone", []uint64{cloneShadow, 0, 0, 0, 0}},
			{false, "clone", []uint64{cloneShadow, 0, 0, 0, jail.ForkKey ^ 1}}, {false, "clone", []uint64{cloneShadow, 0, 0, 0, jail.ForkKey ^ 1<<32}},
			{false, "clone", []uint64{17, 0, 0, 0, jail.ForkKey}}, {false, "clone", []uint64{unix.CLONE_VM | unix.CLONE_THREAD, 0, 0, 0, jail.ForkKey}},
			{zygote, "prctl", []uint64{unix.PR_SET_PDEATHSIG, 9}}, {false, "prctl", []uint64{unix.PR_SET_PDEATHSIG, 0}},
			{zygote, "prctl", []uint64{unix.PR_SET_NO_NEW_PRIVS, 1}}, {false, "prctl", []uint64{unix.PR_SET_DUMPABLE, 1}},
		} {
			if got := m.call(c.name, c.args...); (got == allowed) != c.want {
				t.Errorf("%s: %s%#x gives %#x, should be allowed: %v", role, c.name, c.args, got, c.want)
			}
		}
	}
	for _, flags := range []uint64{unix.CLONE_NEWUSER, unix.CLONE_NEWPID | 17, unix.CLONE_NEWNET, unix.CLONE_NEWNS} {
		if newMachine(t, roles["compiler"]).call("clone", flags) == allowed {
			t.Errorf("a compiler may make namespaces: %#x", flags)
		}
	}
}
