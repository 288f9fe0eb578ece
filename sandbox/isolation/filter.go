package isolation

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// rule allows a system call, by name, if every argument passes.
type rule struct {
	name string
	args []argument
}

// argument passes if the bits of mask have the value. Bits outside the mask are
// not looked at: where the kernel takes an int, it ignores the upper half too.
type argument struct {
	index int
	mask  uint64
	value uint64
}

const whole = ^uint64(0)

func calls(names ...string) (rules []rule) {
	for _, name := range names {
		rules = append(rules, rule{name: name})
	}
	return rules
}

// What a Scheme runtime needs to compute, collect, answer, and use the files
// that Landlock leaves it; everything else is refused with EPERM. No call here
// creates a process, a socket or a copy of a descriptor, reaches another
// process, or changes credentials or modes.
var shadowRules = slices.Concat(calls(
	"read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "close",
	"openat", "open", "stat", "fstat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
	"getdents64", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2",
	"truncate", "ftruncate", "getcwd", "chdir", "fsync", "fdatasync",
	"poll", "ppoll", "select", "pselect6",
	"mmap", "munmap", "mremap", "mprotect", "madvise", "brk",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
	"setitimer", "getitimer", "clock_gettime", "clock_getres", "clock_nanosleep", "gettimeofday", "nanosleep", "time",
	"futex", "sched_yield", "restart_syscall", "getrandom", "uname", "sysinfo", "getrusage", "times", "getrlimit",
	"getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getpgrp",
	"exit", "exit_group",
), []rule{
	// Gambit reads and writes its frame channel as the socket that it is. Urgent
	// data is nobody's need, and its code in the kernel is known for its faults.
	{"sendto", []argument{{3, unix.MSG_OOB, 0}}},
	{"recvfrom", []argument{{3, unix.MSG_OOB, 0}}},
	// Flags of descriptors. Not F_SETOWN, F_SETSIG and the ioctls that do the
	// same: the kernel would signal any process of this user on their behalf.
	{"fcntl", []argument{{1, 0xffffffff, unix.F_GETFD}}},
	{"fcntl", []argument{{1, 0xffffffff, unix.F_SETFD}}},
	{"fcntl", []argument{{1, 0xffffffff, unix.F_GETFL}}},
	{"fcntl", []argument{{1, 0xffffffff, unix.F_SETFL}}},
	{"ioctl", []argument{{1, 0xffffffff, unix.TCGETS}}}, // "is this a terminal?"
	{"ioctl", []argument{{1, 0xffffffff, fionbio}}},
	// A folder stays open to its owner: a workspace must be emptied afterwards.
	{"mkdir", []argument{{1, 0o700, 0o700}}},
	{"mkdirat", []argument{{2, 0o700, 0o700}}},
})

// What a process needs on top, to become a runtime by exec. The kernel ignores
// a fourth argument of execve; the filter does not, and whoever does not know
// the key, which is forgotten with the old program, cannot exec again.
func startRules(execKey uint64) []rule {
	return append(calls("arch_prctl", "set_tid_address", "set_robust_list", "rseq", "sched_getaffinity"),
		rule{"execve", []argument{{3, whole, execKey}}},
		rule{"prlimit64", []argument{{0, 0xffffffff, 0}}}) // of itself, not of another process of this user
}

// What a zygote needs on top, to fork shadows and confine them. CLONE_PARENT|SIGCHLD
// is the only way in which it may create a process, and only with the key that
// comes with jird's requests, in an argument that the kernel ignores without
// CLONE_SETTLS: so code that an agent runs while it loads cannot fork.
func zygoteRules(forkKey uint64) []rule {
	return append(calls("recvmsg", "dup2", "dup3", "close_range", "setrlimit", "seccomp",
		"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"),
		rule{"clone", []argument{{0, whole, cloneShadow}, {4, whole, forkKey}}},
		// Nobody may take back the wish to die with jird.
		rule{"prctl", []argument{{0, 0xffffffff, unix.PR_SET_PDEATHSIG}, {1, 0xffffffff, uint64(unix.SIGKILL)}}},
		rule{"prctl", []argument{{0, 0xffffffff, unix.PR_SET_NO_NEW_PRIVS}}})
}

const cloneShadow = unix.CLONE_PARENT | uint64(unix.SIGCHLD)

// newNamespaces are the flags of clone(2) that a compiler's children must not have.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// What gsc, gcc and the programs that they start need: on top of a shadow's
// calls, processes of their own and the modes of their files.
func compilerRules() []rule {
	return append(calls("arch_prctl", "set_tid_address", "set_robust_list", "rseq", "sched_getaffinity", "prlimit64",
		"execve", "fork", "vfork", "wait4", "waitid", "kill", "tgkill", "getpgid", "setpgid", "getpgrp",
		"dup", "dup2", "dup3", "pipe", "pipe2", "close_range", "umask", "chmod", "fchmod", "fchmodat", "utimensat", "fadvise64", "fallocate", "copy_file_range", "sendfile", "statfs", "fstatfs"),
		rule{"clone", []argument{{0, newNamespaces, 0}}},
		rule{"fcntl", []argument{{1, 0xffffffff, unix.F_DUPFD}}},
		rule{"fcntl", []argument{{1, 0xffffffff, unix.F_DUPFD_CLOEXEC}}})
}

// ShadowFilter is the seccomp program of a shadow, as the bytes of an array of
// struct sock_filter in the machine's byte order.
func ShadowFilter() ([]byte, error) { return assemble(shadowRules) }

// startFilter is the program for a process that goes on to exec its role.
func (j Jail) startFilter(execKey uint64) ([]byte, error) {
	switch j.Role {
	case Compiler:
		return assemble(slices.Concat(shadowRules, compilerRules()))
	case Zygote:
		return assemble(slices.Concat(shadowRules, startRules(execKey), zygoteRules(j.ForkKey)))
	}
	return assemble(slices.Concat(shadowRules, startRules(execKey)))
}

// Offsets in struct seccomp_data, whose arguments are 64 bits each (seccomp(2)).
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// program refuses with EPERM what no rule allows. Calls by another
// architecture's numbers (int 0x80, x32) end the process: no runtime makes them.
func program(rules []rule) ([]bpf.Instruction, error) {
	machine, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	code := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(machine.ID), SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	if machine.ID == arch.X86_64.ID {
		code = append(code, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: uint32(arch.X32.SeccompMask), SkipFalse: 1},
			bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS})
	}
	for _, r := range rules {
		if number, ok := machine.SyscallNames[r.name]; ok { // else older than this architecture
			code = append(code, r.block(uint32(number))...)
		}
	}
	// The C library asks for clone3 first and goes on to clone if there is none.
	if number, ok := machine.SyscallNames["clone3"]; ok {
		code = append(code, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(number), SkipFalse: 1},
			bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
	}
	return append(code, bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}), nil
}

// block allows one rule's calls and leaves all others to what follows, with the
// call's number in the accumulator again.
func (r rule) block(number uint32) []bpf.Instruction {
	var checks []bpf.Instruction
	check := func(offset int, mask, value uint32) {
		if mask != 0 {
			checks = append(checks, bpf.LoadAbsolute{Off: uint32(offset), Size: 4},
				bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: value}) // else to the end, set below
		}
	}
	low, high := 0, 4
	if bigEndian() {
		low, high = 4, 0
	}
	for _, a := range r.args {
		check(offArgs+8*a.index+low, uint32(a.mask), uint32(a.value))
		check(offArgs+8*a.index+high, uint32(a.mask>>32), uint32(a.value>>32))
	}
	checks = append(checks, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
	end := len(checks)
	for i, in := range checks {
		if jump, ok := in.(bpf.JumpIf); ok {
			jump.SkipFalse = uint8(end - i - 1)
			checks[i] = jump
		}
	}
	if len(r.args) > 0 {
		checks = append(checks, bpf.LoadAbsolute{Off: offNumber, Size: 4})
	}
	return append([]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpEqual, Val: number, SkipFalse: uint8(len(checks))}}, checks...)
}

// fionbio is FIONBIO: do not block. In golang.org/x/sys it is missing on amd64.
const fionbio = 0x5421

func bigEndian() bool { return binary.NativeEndian.Uint16([]byte{0, 1}) == 1 }

func assemble(rules []rule) ([]byte, error) {
	code, err := program(rules)
	if err != nil {
		return nil, fmt.Errorf("assembling a seccomp filter: %w", err)
	}
	raw, err := bpf.Assemble(code)
	if err != nil {
		return nil, fmt.Errorf("assembling a seccomp filter: %w", err)
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, raw); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// install confines the calling thread, which must have no_new_privs.
func install(filter []byte) error {
	const size = 8 // of struct sock_filter
	program := unix.SockFprog{Len: uint16(len(filter) / size), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	const setModeFilter = 1
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return errno
	}
	return nil
}
