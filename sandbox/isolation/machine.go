package isolation

import (
	"errors"
	"os"
	"strings"
	"syscall"

	landlock "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Probe asks the kernel what it offers to this process.
func Probe() Machine {
	m := Machine{Root: hasSysAdmin(), Seccomp: seccompFilters()}
	if abi, err := landlock.LandlockGetABIVersion(); err == nil {
		m.Landlock = abi
	}
	m.Namespaces = m.Root || userNamespaces()
	for _, ns := range []string{"mnt", "net", "ipc", "uts"} {
		if _, err := os.Stat("/proc/self/ns/" + ns); err != nil {
			m.Namespaces = false
		}
	}
	return m
}

// seccompFilters asks for a filter at no address: a kernel that knows filters
// answers EFAULT (seccomp(2)).
func seccompFilters() bool {
	return errors.Is(unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, 0, 0, 0), unix.EFAULT)
}

func hasSysAdmin() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

func userNamespaces() bool {
	limit, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil || strings.TrimSpace(string(limit)) == "0" {
		return false
	}
	// Debian's own switch, absent elsewhere.
	clone, err := os.ReadFile("/proc/sys/kernel/unprivileged_userns_clone")
	return err != nil || strings.TrimSpace(string(clone)) == "1"
}

// ProcAttr is how a process that will call Jail.Enter is started: in namespaces
// of its own, out of reach of a terminal's ^C, since the program that starts it may yet
// finish with it, and killed when the thread that starts it ends. With newPIDs it
// is also the init of its own process ids, so that all it starts dies with it.
func (p Plan) ProcAttr(newPIDs bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.Level == None {
		return attr
	}
	attr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if newPIDs {
		attr.Cloneflags |= unix.CLONE_NEWPID
	}
	if p.UserNamespace {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		// The only id there is not 0, which would be root of the namespace for good.
		// Without it, exec would take the capabilities that building the jail needs.
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: noUser, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: noUser, HostID: os.Getgid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP, unix.CAP_SYS_CHROOT}
	}
	return attr
}
