;; probe.scm: what a candidate may try, as raw system calls, so that a test can
;; see the errno. Each answers 0 if it got what it wanted, else the errno. Loaded
;; into test images only.

(c-declare #<<C-END
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int p_open(char *path)
{
  int fd = open(path, O_RDONLY);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

static int p_write(char *path)
{
  int e = 0, fd = open(path, O_WRONLY | O_CREAT, 0666);
  if (fd < 0) return errno;
  if (write(fd, "x", 1) != 1) e = errno;
  close(fd);
  return e;
}

static int p_connect(int port)
{
  struct sockaddr_in a;
  int e = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  memset(&a, 0, sizeof a);
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(0x7f000001);
  if (connect(fd, (struct sockaddr *) &a, sizeof a)) e = errno;
  close(fd);
  return e;
}

static int p_run(char *program, char *arg)
{
  int status;
  pid_t pid;
  signal(SIGCHLD, SIG_DFL); /* Gambit reaps children by itself */
  pid = vfork();
  if (pid < 0) return errno;
  if (pid == 0) { execl(program, program, arg, (char *) 0); _exit(errno); }
  if (waitpid(pid, &status, 0) < 0) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 999;
}

static int p_exec(char *program, char *arg) { execl(program, program, arg, (char *) 0); return errno; }

static int p_fork(void)
{
  int status;
  pid_t pid;
  signal(SIGCHLD, SIG_DFL);
  pid = fork();
  if (pid < 0) return errno;
  if (pid == 0) _exit(0);
  return waitpid(pid, &status, 0) < 0 ? errno : 0;
}

static int p_kill(int pid, int sig) { return kill(pid, sig) ? errno : 0; }

static int p_ptrace(int pid)
{
  return ptrace(PTRACE_ATTACH, pid, 0, 0) ? errno : 0;
}

static int p_files(char *path, int count)
{
  int i, e = 0, fds[2000];
  for (i = 0; i < count && i < 2000; i++)
    if ((fds[i] = open(path, O_RDONLY)) < 0) { e = errno; break; }
  while (i-- > 0) close(fds[i]);
  return e;
}

static int p_create(int count)
{
  int i, fd;
  char name[16] = "f";
  for (i = 0; i < count; i++) {
    int n = i, at = 1;
    do { name[at++] = '0' + n % 10; n /= 10; } while (n);
    name[at] = 0;
    if ((fd = open(name, O_WRONLY | O_CREAT, 0666)) < 0) return errno;
    close(fd);
  }
  return 0;
}

/* Folders in folders: as deep as it goes. */
static int p_nest(int depth, int mode)
{
  while (depth-- > 0)
    if (mkdir("d", mode) || chdir("d")) return errno;
  return 0;
}

/* Which of 1,024 descriptors are open, as the sum of 2^n below 31; -1 if one
   above is. */
static int p_descriptors(void)
{
  int fd, sum = 0;
  for (fd = 0; fd < 1024; fd++)
    if (fcntl(fd, F_GETFD) >= 0) sum = fd < 31 && sum >= 0 ? sum | 1 << fd : -1;
  return sum;
}

static int p_unlink(char *path) { return unlink(path) ? errno : 0; }
static int p_rename(char *from, char *to) { return rename(from, to) ? errno : 0; }
static int p_chmod(char *path) { return chmod(path, 0777) ? errno : 0; }
static int p_mount(char *dir) { return mount("probe", dir, "tmpfs", 0, 0) ? errno : 0; }
static int p_setuid(void) { return setuid(0) ? errno : 0; }

static int p_abstract(char *name)
{
  struct sockaddr_un a;
  int e = 0, fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  memset(&a, 0, sizeof a);
  a.sun_family = AF_UNIX;
  strcpy(a.sun_path + 1, name);
  if (connect(fd, (struct sockaddr *) &a, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))) e = errno;
  close(fd);
  return e;
}

/* Another process's limit down to 8 descriptors; or its own soft limit down by
   one and up again; or, with -1, its own hard limit up. */
static int p_raise(int pid)
{
  struct rlimit l = { 8, 8 };
  if (pid > 0) return syscall(SYS_prlimit64, pid, RLIMIT_NOFILE, &l, 0) ? errno : 0;
  if (getrlimit(RLIMIT_NOFILE, &l)) return errno;
  if (pid == 0) l.rlim_cur--; else l.rlim_max = ++l.rlim_cur;
  if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &l, 0)) return errno;
  l.rlim_cur++;
  return pid == 0 && syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &l, 0) ? errno : 0;
}

/* All capabilities that it was ever allowed, made effective. */
static int p_capabilities(void)
{
  struct { uint32_t version; int pid; } h = { 0x20080522, 0 };
  struct { uint32_t effective, permitted, inheritable; } d[2];
  if (syscall(SYS_capget, &h, d)) return errno;
  d[0].effective = d[0].permitted |= 1 << 21;
  return syscall(SYS_capset, &h, d) ? errno : 0;
}

/* A filter that allows everything, on top. */
static int p_filter(void)
{
  struct { uint16_t code; uint8_t jt, jf; uint32_t k; } in = { 6, 0, 0, 0x7fff0000 };
  struct { uint16_t len; void *filter; } prog = { 1, &in };
  return syscall(SYS_seccomp, 1, 0, &prog) ? errno : 0;
}

/* Have the kernel send a signal on its behalf when its channel moves. */
static int p_setown(int pid)
{
  return fcntl(3, F_SETOWN, pid) || fcntl(3, F_SETOWN, 0) ? errno : 0;
}

static int p_live_on(void) { return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) ? errno : 0; }

/* As a zygote forks: the child belongs to jird. Answers its id, or -errno. */
static int p_clone(void)
{
  long pid = syscall(SYS_clone, 0x8000 | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  return pid < 0 ? -errno : pid;
}

static int p_foreign(int which)
{
#ifdef __x86_64__
  if (which == 32) { int r = 20; __asm__ volatile ("int $0x80" : "+a" (r) : : "memory"); return 0; }
  syscall(0x40000000 | SYS_getpid);
#endif
  return 0;
}

static int p_fill(char *path, int megabytes)
{
  static char block[1 << 20];
  int i, e = 0, fd = open(path, O_WRONLY | O_CREAT, 0666);
  if (fd < 0) return errno;
  signal(SIGXFSZ, SIG_IGN);
  for (i = 0; i < megabytes; i++)
    if (write(fd, block, sizeof block) != sizeof block) { e = errno ? errno : ENOSPC; break; }
  close(fd);
  return e;
}

static int p_say(int fd, char *text) { return write(fd, text, strlen(text)) < 0 ? errno : 0; }
static void p_exit(int status) { _exit(status); }
static int p_sleep(int seconds) { sleep(seconds); return 0; }
C-END
)

(define probe-open (c-lambda (nonnull-char-string) int "p_open"))
(define probe-write (c-lambda (nonnull-char-string) int "p_write"))
(define probe-connect (c-lambda (int) int "p_connect"))
(define probe-run (c-lambda (nonnull-char-string nonnull-char-string) int "p_run"))
(define probe-exec (c-lambda (nonnull-char-string nonnull-char-string) int "p_exec"))
(define probe-fork (c-lambda () int "p_fork"))
(define probe-kill (c-lambda (int int) int "p_kill"))
(define probe-ptrace (c-lambda (int) int "p_ptrace"))
(define probe-files (c-lambda (nonnull-char-string int) int "p_files"))
(define probe-create (c-lambda (int) int "p_create"))
(define probe-nest (c-lambda (int int) int "p_nest"))
(define probe-descriptors (c-lambda () int "p_descriptors"))
(define probe-unlink (c-lambda (nonnull-char-string) int "p_unlink"))
(define probe-rename (c-lambda (nonnull-char-string nonnull-char-string) int "p_rename"))
(define probe-chmod (c-lambda (nonnull-char-string) int "p_chmod"))
(define probe-mount (c-lambda (nonnull-char-string) int "p_mount"))
(define probe-setuid (c-lambda () int "p_setuid"))
(define probe-abstract (c-lambda (nonnull-char-string) int "p_abstract"))
(define probe-raise (c-lambda (int) int "p_raise"))
(define probe-capabilities (c-lambda () int "p_capabilities"))
(define probe-filter (c-lambda () int "p_filter"))
(define probe-setown (c-lambda (int) int "p_setown"))
(define probe-live-on (c-lambda () int "p_live_on"))
(define probe-clone (c-lambda () int "p_clone"))
(define probe-foreign (c-lambda (int) int "p_foreign"))
(define probe-fill (c-lambda (nonnull-char-string int) int "p_fill"))
(define probe-say (c-lambda (int nonnull-char-string) int "p_say"))
(define probe-exit (c-lambda (int) void "p_exit"))
(define probe-sleep (c-lambda (int) int "p_sleep"))

;; What a candidate may do to itself: bounded by N, or without end if N is -1.
(define (probe-spin n) (let loop ((i 0)) (if (= i n) 0 (loop (+ i 1)))))
(define (probe-recurse n) (let f ((i 0)) (if (= i n) 0 (+ 1 (f (+ i 1))))))
(define (probe-allocate n)
  (let f ((i 0) (l '())) (if (= i n) (length l) (f (+ i 1) (cons (make-vector 1000 0) l)))))
(define (probe-flood n)
  (let loop ((i 0)) (if (< i n) (begin (display "flood flood flood ") (newline) (loop (+ i 1))))))
