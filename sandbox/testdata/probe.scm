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
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/ptrace.h>
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

static int p_exec(char *program) { execl(program, program, (char *) 0); return errno; }

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

static int p_dup(int count)
{
  int i, e = 0, fds[2000];
  for (i = 0; i < count && i < 2000; i++)
    if ((fds[i] = dup(1)) < 0) { e = errno; break; }
  while (i-- > 0) close(fds[i]);
  return e;
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
(define probe-exec (c-lambda (nonnull-char-string) int "p_exec"))
(define probe-fork (c-lambda () int "p_fork"))
(define probe-kill (c-lambda (int int) int "p_kill"))
(define probe-ptrace (c-lambda (int) int "p_ptrace"))
(define probe-files (c-lambda (nonnull-char-string int) int "p_files"))
(define probe-dup (c-lambda (int) int "p_dup"))
(define probe-fill (c-lambda (nonnull-char-string int) int "p_fill"))
(define probe-say (c-lambda (int nonnull-char-string) int "p_say"))
(define probe-exit (c-lambda (int) void "p_exit"))
(define probe-sleep (c-lambda (int) int "p_sleep"))
