package isolation

import (
	"archive/tar"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	landlock "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Role is what a jailed process will be.
type Role string

// The roles: a zygote forks shadows, a server is its own only shadow, a
// compiler starts other programs and keeps nothing.
const (
	Zygote   Role = "zygote"
	Server   Role = "server"
	Compiler Role = "compiler"
)

// Jail is everything that a freshly started process needs to confine itself. It
// travels as JSON.
type Jail struct {
	Plan    Plan
	Role    Role
	Parent  int      // process id of jird, which must still be there
	System  []string // folders and files of the host to see read-only, e.g. /usr
	Program string   // the runtime, the only file that a Server may execute
	Slots   int      // writable workspaces to prepare, if the plan has any
	ForkKey uint64   // what a zygote must know to fork, told with each request only
}

// ImageDir is where the image appears in a jail; workspaces are folders of
// WorkDir, named by their slot.
const (
	ImageDir = "/jird"
	WorkDir  = "/work"
)

// noUser owns every jailed process of a jird that runs as root: an id that no
// user has, above what distributions and container engines hand out. Compilers
// have the next one, for the limit on their number counts processes by user.
const noUser = 2_000_100_000

func (j Jail) user() int {
	if j.Role == Compiler {
		return noUser + 1
	}
	return noUser
}

const lastCapability = 63 // beyond the kernel's, whose number grows

// Enter confines the calling process for good, in a root that holds System, a
// few devices, and the files of the tar archive image, read-only, and executes
// argv there. It must be the first thing that a process does which was started
// with Plan.ProcAttr. It returns only to say why not; then the process must end.
func (j Jail) Enter(image io.Reader, argv, env []string) error {
	runtime.LockOSThread() // only this thread is confined, and it is the one that goes on
	if err := j.buildRoot(image); err != nil {
		return fmt.Errorf("building the jail's root: %w", err)
	}
	if err := j.dropPrivileges(); err != nil {
		return fmt.Errorf("dropping privileges: %w", err)
	}
	// Credentials changed, which clears the signal: set it again, then see
	// whether jird died before.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("asking to die with jird: %w", err)
	}
	if j.Role != Compiler && os.Getppid() != j.Parent { // a compiler is pid 1, whose parent is 0
		return errors.New("jird is gone")
	}
	return j.restrict(argv, env)
}

func (j Jail) buildRoot(image io.Reader) error {
	const root = "/tmp" // any folder that exists: the mounts are this process's own
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	// Sources are opened before the new root hides them, should they lie below it.
	system, err := openSystem(j.System)
	if err != nil {
		return err
	}
	if err := unix.Mount("jird", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mounting the root: %w", err)
	}
	for _, s := range system {
		if err := s.place(root); err != nil {
			return err
		}
	}
	for _, dev := range []string{"/dev/null", "/dev/zero", "/dev/urandom"} {
		if err := bindFile(dev, root+dev); err != nil {
			return err
		}
	}
	if err := unpack(image, root+ImageDir); err != nil {
		return fmt.Errorf("unpacking the image: %w", err)
	}
	if err := j.makeWorkspaces(root); err != nil {
		return err
	}
	return pivot(root, j.Role == Compiler)
}

// systemDir is a host folder to show: a symlink is shown as one.
type systemDir struct {
	path, link string
	file       *os.File
	isDir      bool
}

func openSystem(paths []string) ([]systemDir, error) {
	var dirs []systemDir
	for _, path := range paths {
		info, err := os.Lstat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // /lib64 and the like, absent on some machines
		}
		if err != nil {
			return nil, err
		}
		d := systemDir{path: path, isDir: info.IsDir()}
		if info.Mode()&os.ModeSymlink != 0 {
			d.link, err = os.Readlink(path)
		} else {
			d.file, err = os.OpenFile(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, d)
	}
	return dirs, nil
}

func (d systemDir) place(root string) error {
	target := root + d.path
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if d.link != "" {
		return os.Symlink(d.link, target)
	}
	defer d.file.Close()
	if err := mountPoint(target, d.isDir); err != nil {
		return err
	}
	source := fmt.Sprintf("/proc/self/fd/%d", d.file.Fd())
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("showing %s: %w", d.path, err)
	}
	// With all that is mounted below, which a remount would leave as it is.
	readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &readOnly); err != nil {
		return fmt.Errorf("making %s read-only: %w", d.path, err)
	}
	return nil
}

func mountPoint(target string, isDir bool) error {
	if isDir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, nil, 0o644)
}

func bindFile(source, target string) error {
	if err := mountPoint(target, false); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("showing %s: %w", source, err)
	}
	return nil
}

func unpack(image io.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // no name in the archive can leave the folder
	if err != nil {
		return err
	}
	defer root.Close()
	for archive := tar.NewReader(image); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			return fmt.Errorf("%s is not a plain file", header.Name)
		}
		if err := root.MkdirAll(filepath.Dir(header.Name), 0o755); err != nil {
			return err
		}
		f, err := root.OpenFile(header.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, archive); err != nil {
			return errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
}

// Each workspace is a file system of its own, so that filling it is felt by
// nobody else.
func (j Jail) makeWorkspaces(root string) error {
	slots := j.Slots
	if j.Plan.Workspace == 0 {
		slots = 0
	}
	if err := os.Mkdir(root+WorkDir, 0o755); err != nil {
		return err
	}
	for slot := range slots {
		path := fmt.Sprintf("%s%s/%d", root, WorkDir, slot)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		options := fmt.Sprintf("mode=0700,size=%d,nr_inodes=1024", j.Plan.Workspace)
		if !j.Plan.UserNamespace {
			options += fmt.Sprintf(",uid=%d,gid=%d", noUser, noUser)
		}
		if err := unix.Mount("jird", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
			return fmt.Errorf("mounting workspace %d: %w", slot, err)
		}
	}
	return nil
}

// pivot makes root the process's root, read-only but for its workspaces, or
// for a compiler's own /tmp.
func pivot(root string, compiler bool) error {
	if compiler {
		if err := os.Mkdir(root+"/tmp", 0o777); err != nil {
			return err
		}
		if err := unix.Mount("jird", root+"/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777,size=256m,nr_inodes=4096"); err != nil {
			return fmt.Errorf("mounting the compiler's /tmp: %w", err)
		}
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	// pivot_root(2), notes: with both arguments the same the old root is stacked
	// on the new one, and needs no folder in it.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the host's root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("making the root read-only: %w", err)
	}
	return unix.Chdir("/")
}

func (j Jail) dropPrivileges() error {
	for c := range uintptr(lastCapability + 1) {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, secureBits, 0, 0, 0); err != nil {
		return fmt.Errorf("locking capabilities: %w", err)
	}
	if !j.Plan.UserNamespace { // there the only id is the user's own
		if err := unix.Setgroups(nil); err != nil {
			return err
		}
		id := j.user()
		if err := unix.Setresgid(id, id, id); err != nil {
			return err
		}
		if err := unix.Setresuid(id, id, id); err != nil {
			return err
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	return nil
}

// SECBIT_NOROOT and SECBIT_NO_CAP_AMBIENT_RAISE, each with its lock
// (capabilities(7)): user 0 is nobody special, and it stays so.
const secureBits = 1<<0 | 1<<1 | 1<<6 | 1<<7

func (j Jail) restrict(argv, env []string) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	// A compiler must start programs and write its files; the read-only root and
	// its own process ids, network and user hold it where Landlock would.
	if j.Role != Compiler {
		if err := j.landlock(); err != nil {
			return fmt.Errorf("landlock: %w", err)
		}
	}
	var secret [8]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return err
	}
	key := binary.NativeEndian.Uint64(secret[:])
	filter, err := j.startFilter(key)
	if err != nil {
		return err
	}
	if j.Role == Server && j.Plan.Workspace > 0 { // a process that serves by itself
		if err := unix.Chdir(WorkDir + "/0"); err != nil {
			return err
		}
	}
	run, err := newExec(argv, env, j.Plan.limits(j.Role))
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1) // no other goroutine runs until the exec, see newExec
	if err := install(filter); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return fmt.Errorf("starting %s: %w", argv[0], run(key))
}

// newExec prepares everything but the calls, of which the last carries the key.
//
// This Go process holds more address space, and may want more threads, than the
// limits allow: a thread or a heap that grew under them would end it. So they are set
// in the last moment, with nothing of Go's runtime, nor of the race detector, between
// them and the exec.
func newExec(argv, env []string, limits []Rlimit) (func(key uint64) error, error) {
	program, err := unix.BytePtrFromString(argv[0])
	if err != nil {
		return nil, err
	}
	args, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return nil, err
	}
	vars, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return nil, err
	}
	values := make([]unix.Rlimit, len(limits))
	for i, l := range limits {
		values[i] = unix.Rlimit{Cur: uint64(l.Value), Max: uint64(l.Value)}
	}
	return func(key uint64) error {
		return limitAndExec(limits, values, program, args, vars, key)
	}, nil
}

//go:norace
func limitAndExec(limits []Rlimit, values []unix.Rlimit, program *byte, args, vars []*byte, key uint64) error {
	for i := range values {
		if _, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(limits[i].Kind), uintptr(unsafe.Pointer(&values[i])), 0, 0, 0); errno != 0 {
			return fmt.Errorf("setting resource limit %d: %w", limits[i].Kind, errno)
		}
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVE, uintptr(unsafe.Pointer(program)), uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&vars[0])), uintptr(key), 0, 0)
	return errno
}

// landlock confines the calling thread, which goes on to exec: what may be
// read (the root holds nothing else), run and written. The library's own
// all-threads call wants /proc, which a jail does not have.
func (j Jail) landlock() error {
	fd, err := landlock.LandlockCreateRuleset(&landlock.RulesetAttr{
		HandledAccessFS: j.Plan.LandlockFS, HandledAccessNet: j.Plan.LandlockNet, Scoped: j.Plan.LandlockScope,
	}, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const write = ^uint64(landlock.AccessFSExecute | landlock.AccessFSMakeChar | landlock.AccessFSMakeBlock)
	rules := map[string]uint64{
		"/":     landlock.AccessFSReadFile | landlock.AccessFSReadDir,
		WorkDir: j.Plan.LandlockFS & write,
	}
	for _, path := range j.runnable() {
		rules[path] = landlock.AccessFSReadFile | landlock.AccessFSExecute
	}
	for path, access := range rules {
		if err := allow(fd, path, access); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return landlock.LandlockRestrictSelf(fd, 0)
}

func allow(ruleset int, path string, access uint64) error {
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return landlock.LandlockAddPathBeneathRule(ruleset, &landlock.PathBeneathAttr{ParentFd: int(f.Fd()), AllowedAccess: access}, 0)
}

// The runtime and the program loader; to run a file needs the right on both.
func (j Jail) runnable() []string {
	paths := []string{j.Program}
	for _, loader := range []string{"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"} {
		if real, err := filepath.EvalSymlinks(loader); err == nil {
			paths = append(paths, real)
		}
	}
	return paths
}
