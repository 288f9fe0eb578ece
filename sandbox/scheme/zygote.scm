;; zygote.scm: the C part of a zygote. Defines jird-zygote-loop.
;;
;; The loop blocks in recvmsg on the control channel (descriptor 4). Each
;; message asks for one shadow: the key without which the seccomp filter refuses
;; clone, a slot number, and by SCM_RIGHTS its frame channel, its stdout, its stderr
;; and, for a live process, a page of memory to count in. The zygote forks with CLONE_PARENT, so the
;; shadow is a child of jird itself, answers the process id, and waits again. In
;; the child the loop isolates the process for good and returns.

(c-declare #<<C-END

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Not in scope without _GNU_SOURCE ahead of Gambit's own includes, or newer
   than the C library: values from the kernel's headers. */
#define JZ_CLONE_PARENT 0x00008000
#define JZ_SYS_CLOSE_RANGE 436
#define JZ_SYS_LANDLOCK_CREATE 444
#define JZ_SYS_LANDLOCK_ADD_RULE 445
#define JZ_SYS_LANDLOCK_RESTRICT 446
#define JZ_LANDLOCK_RULE_PATH_BENEATH 1
#define JZ_O_PATH 010000000
#define JZ_SECCOMP_SET_MODE_FILTER 1
#define JZ_FRAMES 3
#define JZ_CONTROL 4

struct jz_ruleset { uint64_t fs, net, scoped; };
struct jz_beneath { uint64_t allowed; int32_t fd; } __attribute__((packed));
struct jz_prog { uint16_t len; void *filter; };

/* What every shadow of this zygote gets: read once, before the first fork. */
static struct jz_ruleset jz_rules;
static int jz_ruleset_fd = -1;
static struct jz_prog jz_filter;
static int jz_isolate, jz_workspace;
static pid_t jz_jird;
static struct rlimit jz_limits[16];
static int jz_limit_kinds[16], jz_limit_count;

static int jz_ruleset_new(void)
{
  return syscall(JZ_SYS_LANDLOCK_CREATE, &jz_rules, sizeof jz_rules, 0);
}

/* Returns 0, or errno. */
static int jz_configure(int isolate, int workspace, int jird, char *filter,
                        int64_t fs, int64_t net, int64_t scoped)
{
  int fd;
  ssize_t n;
  static char code[65536];
  jz_isolate = isolate;
  jz_workspace = workspace;
  jz_jird = jird;
  if (!isolate) return 0;
  jz_rules.fs = fs; jz_rules.net = net; jz_rules.scoped = scoped;
  fd = open(filter, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  n = read(fd, code, sizeof code);
  close(fd);
  if (n <= 0 || n % 8 != 0 || n == sizeof code) return EINVAL;
  jz_filter.len = n / 8;
  jz_filter.filter = code;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return errno;
  /* Empty, so nothing is allowed. Built now, for every fork; with a workspace
     each shadow needs a rule of its own, added to a ruleset of its own. */
  jz_ruleset_fd = jz_ruleset_new();
  return jz_ruleset_fd < 0 ? errno : 0;
}

static int jz_limit(int kind, int64_t value)
{
  if (jz_limit_count == 16) return EINVAL;
  jz_limit_kinds[jz_limit_count] = kind;
  jz_limits[jz_limit_count].rlim_cur = jz_limits[jz_limit_count].rlim_max = value;
  jz_limit_count++;
  return 0;
}

static void jz_close_from(unsigned first, unsigned last)
{
  syscall(JZ_SYS_CLOSE_RANGE, first, last, 0);
}

/* A shadow that cannot be limited must not serve: it ends with a status that
   names the step. */
static void jz_die(int step) { _exit(100 + step); }

static void jz_enter_workspace(int slot, int *ruleset)
{
  char path[32] = "/work/";
  char digits[12];
  int n = 0, at = 6;
  struct jz_beneath rule;
  do { digits[n++] = '0' + slot % 10; slot /= 10; } while (slot);
  while (n) path[at++] = digits[--n];
  path[at] = 0;
  rule.fd = open(path, JZ_O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (rule.fd < 0 || chdir(path)) jz_die(1);
  /* Everything handled except running a file and making devices. */
  rule.allowed = jz_rules.fs & ~(1ULL | 1ULL << 6 | 1ULL << 11 | 1ULL << 15);
  *ruleset = jz_ruleset_new();
  if (*ruleset < 0 || syscall(JZ_SYS_LANDLOCK_ADD_RULE, *ruleset,
                              JZ_LANDLOCK_RULE_PATH_BENEATH, &rule, 0)) jz_die(2);
  close(rule.fd);
}

/* Shared with jird, which reads in it how a live process fares. */
#define JZ_PAGE 4096
static volatile uint64_t *jz_page;

static void jz_count(int at, int64_t value)
{
  if (jz_page) jz_page[at] = value;
}

static int jz_has_page(void) { return jz_page != 0; }

static void jz_map_page(int fd)
{
  void *p = mmap(0, JZ_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) jz_die(10);
  jz_page = p;
}

static void jz_child(int slot, int *fds, int count)
{
  int i, ruleset = jz_ruleset_fd;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) jz_die(3);
  if (getppid() != jz_jird) jz_die(4); /* jird died before the line above */
  if (count == 4) jz_map_page(fds[3]);
  if (dup2(fds[0], JZ_FRAMES) < 0 || dup2(fds[1], 1) < 0 || dup2(fds[2], 2) < 0) jz_die(5);
  if (jz_isolate && jz_workspace) jz_enter_workspace(slot, &ruleset);
  if (ruleset >= 0) {
    if (dup2(ruleset, JZ_CONTROL) < 0) jz_die(6);
    jz_close_from(JZ_CONTROL + 1, ~0U);
  } else
    jz_close_from(JZ_CONTROL, ~0U);
  for (i = 0; i < jz_limit_count; i++)
    if (setrlimit(jz_limit_kinds[i], &jz_limits[i])) jz_die(7);
  if (!jz_isolate) return;
  if (syscall(JZ_SYS_LANDLOCK_RESTRICT, JZ_CONTROL, 0)) jz_die(8);
  close(JZ_CONTROL);
  if (syscall(SYS_seccomp, JZ_SECCOMP_SET_MODE_FILTER, 0, &jz_filter)) jz_die(9);
}

/* What an isolated process manages to do that it must not: 0 is the only good
   answer. Reported in the shadow's first frame. */
static int jz_probe(void)
{
  int got = 0, fd;
  if ((fd = open("/jird/plan.sexp", O_RDONLY)) >= 0) { got |= 1; close(fd); }
  if ((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0) { got |= 2; close(fd); }
  if (kill(jz_jird, 0) == 0) got |= 4;
  if (geteuid() == 0 || getuid() == 0) got |= 8;
  return got;
}

/* Blocks until this process is a shadow: returns its slot. Ends the process
   when jird closes the control channel. */
static int jz_loop(void)
{
  for (;;) {
    uint64_t request[2]; /* key, slot */
    int fds[4], i, count;
    int64_t reply;
    char control[CMSG_SPACE(sizeof fds)];
    struct iovec iov = { request, sizeof request };
    struct msghdr msg;
    struct cmsghdr *c;
    ssize_t n;
    memset(&msg, 0, sizeof msg);
    msg.msg_iov = &iov; msg.msg_iovlen = 1;
    msg.msg_control = control; msg.msg_controllen = sizeof control;
    n = recvmsg(JZ_CONTROL, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n != sizeof request) _exit(0);
    c = CMSG_FIRSTHDR(&msg);
    count = c && c->cmsg_len == CMSG_LEN(sizeof fds) ? 4 : 3;
    if (!c || c->cmsg_len != CMSG_LEN(count * sizeof fds[0])) _exit(99);
    memcpy(fds, CMSG_DATA(c), count * sizeof fds[0]);
    reply = syscall(SYS_clone, JZ_CLONE_PARENT | SIGCHLD, 0, 0, 0, request[0]);
    if (reply < 0) reply = -errno;
    *(volatile uint64_t *) request = 0; /* of no use to a shadow, and not for it */
    if (reply == 0) { jz_child(request[1], fds, count); return request[1]; }
    for (i = 0; i < count; i++) close(fds[i]);
    if (write(JZ_CONTROL, &reply, sizeof reply) != sizeof reply) _exit(98);
  }
}

C-END
)

(define jird-zygote-configure
  (c-lambda (int int int nonnull-char-string int64 int64 int64) int "jz_configure"))
(define jird-zygote-limit (c-lambda (int int64) int "jz_limit"))
(define jird-zygote-wait (c-lambda () int "jz_loop"))
(define jird-zygote-probe (c-lambda () int "jz_probe"))
(define jird-count! (c-lambda (int int64) void "jz_count"))
(define jird-zygote-page? (c-lambda () bool "jz_has_page"))

;; Ten times a second, as long as this process is given time and can switch
;; threads; what it gets done is counted elsewhere.
(define (jird-beat n)
  (jird-count! 0 n)
  (thread-sleep! .1)
  (jird-beat (+ n 1)))

(define jird-zygote-workspaces? #f)

(define (jird-check-errno what code)
  (if (not (= code 0))
      (error (string-append what " failed with errno") code)))

;; PLAN is ((ISOLATE WORKSPACE JIRD-PID FILTER-FILE FS NET SCOPED) (KIND . LIMIT) ...),
;; numbers as the system calls take them. Called before any code of an agent.
(define (jird-zygote-configure! plan)
  (set! jird-zygote-workspaces? (= 1 (car (car plan)) (cadr (car plan))))
  (jird-check-errno "preparing isolation" (apply jird-zygote-configure (car plan)))
  (for-each (lambda (limit)
              (jird-check-errno "setting limits" (jird-zygote-limit (car limit) (cdr limit))))
            (cdr plan)))

;; Returns in every forked child, isolated; -> what it must answer first.
(define (jird-zygote-loop)
  (let ((slot (jird-zygote-wait)))
    ;; Interval timers are not inherited by fork: without this Gambit's green
    ;; threads never preempt in a shadow.
    (##set-heartbeat-interval! .01)
    ;; Gambit remembers the folder in which it started, and names files from there.
    (if jird-zygote-workspaces?
        (current-directory (string-append "/work/" (number->string slot))))
    (if (jird-zygote-page?)
        (thread-start! (make-thread (lambda () (jird-beat 1)))))
    (list 'hello 1 slot (jird-zygote-probe))))
