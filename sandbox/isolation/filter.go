package isolation

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What a Scheme runtime needs to compute, collect and answer; everything else
// is refused with EPERM. No call here creates a process or a socket, reaches
// another process, or changes credentials. Opening files stays allowed because
// Landlock decides which.
var shadowCalls = []string{
	// Gambit reads and writes its frame channel as the socket that it is; there is
	// no call to make another socket, and this one is connected for good.
	"sendto", "recvfrom",
	"read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "close", "close_range",
	"openat", "open", "stat", "fstat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
	"getdents64", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2",
	"truncate", "ftruncate", "getcwd", "chdir", "fsync", "fdatasync",
	"dup", "dup2", "dup3", "fcntl", "pipe", "pipe2", "ioctl",
	"poll", "ppoll", "select", "pselect6",
	"mmap", "munmap", "mremap", "mprotect", "madvise", "brk",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
	"setitimer", "getitimer", "clock_gettime", "clock_getres", "clock_nanosleep", "gettimeofday", "nanosleep", "time",
	"futex", "sched_yield", "restart_syscall", "getrandom", "uname", "sysinfo", "getrusage", "times", "getrlimit", "umask",
	"getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getpgrp",
	"exit", "exit_group",
}

// What a process needs on top, to become a runtime by exec.
var startCalls = []string{
	"execve", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "sched_getaffinity",
	"sched_setaffinity", "epoll_pwait", "epoll_ctl", "epoll_create1", "eventfd2", "rt_sigpending",
}

// What a zygote needs on top, to fork shadows and confine them.
var zygoteCalls = []string{
	"recvmsg", "prctl", "setrlimit", "seccomp", "kill",
	"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
}

// cloneShadow is the only way in which a zygote may create a process:
// CLONE_PARENT|SIGCHLD. fork(3) passes other flags, so code that an agent runs
// while it loads cannot fork either.
const cloneShadow = 0x8000 | 17

// ShadowFilter is the seccomp program of a shadow, as the bytes of an array of
// struct sock_filter in the machine's byte order.
func ShadowFilter() ([]byte, error) {
	policy := shadowPolicy()
	return assemble(&policy)
}

func assemble(policy *seccomp.Policy) ([]byte, error) {
	program, err := policy.Assemble()
	if err != nil {
		return nil, fmt.Errorf("assembling a seccomp filter: %w", err)
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("assembling a seccomp filter: %w", err)
	}
	var b bytes.Buffer
	for _, in := range raw {
		if err := binary.Write(&b, binary.NativeEndian, in); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func shadowPolicy() seccomp.Policy {
	return seccomp.Policy{
		DefaultAction: seccomp.ActionErrno,
		Syscalls:      []seccomp.SyscallGroup{{Action: seccomp.ActionAllow, Names: shadowCalls}},
	}
}

// startFilter is the program for a process that goes on to exec a zygote, or a
// runtime that serves by itself.
func startFilter(zygote bool) ([]byte, error) {
	policy := shadowPolicy()
	policy.Syscalls = append(policy.Syscalls, seccomp.SyscallGroup{Action: seccomp.ActionAllow, Names: startCalls})
	if zygote {
		policy.Syscalls = append(policy.Syscalls, seccomp.SyscallGroup{
			Action: seccomp.ActionAllow,
			Names:  zygoteCalls,
			NamesWithCondtions: []seccomp.NameWithConditions{{
				Name:       "clone",
				Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.Equal, Value: cloneShadow}},
			}},
		})
	}
	return assemble(&policy)
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
