/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sandbox.h"
#include "tests/unit/unit.h"

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* What is tried in a child that is inside: returns 0, or the line of what was not as it should be.
 */
typedef int (*trial)(void);

#define EXPECT(claim)        \
    do {                     \
        if (!(claim)) {      \
            return __LINE__; \
        }                    \
    } while (0)

/* -1 with `code`. */
#define FAILS(call, code) EXPECT((errno = 0, (call) == -1) && errno == (code))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INSIDE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INSIDE_SANITIZER 1
#endif
#endif
#ifndef INSIDE_SANITIZER
#define INSIDE_SANITIZER 0
#endif

/* In a child, as there is no way back; it leaves without what others do at an exit. */
static void inside(enum sandbox_mode mode, trial run)
{
    struct sandbox sandbox;
    int status;
    pid_t child;

#ifndef HAVE_LIBSECCOMP
    if (mode == SANDBOX_ON) {
        skip();
    }
#endif
    if (RUNNING_ON_VALGRIND) {
        skip();
    }
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err err;
        int line = sandbox_enter(&sandbox, mode, NULL, &err) < 0 ? 1 : run();

        if (line) {
            dprintf(STDERR_FILENO, "# line %d, %s\n", line, sandbox.text);
        }
        _exit(line != 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static bool status_has(const char *line)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0) {
        close(fd);
    }
    text[len < 0 ? 0 : len] = '\0';
    return strstr(text, line);
}

static int power_is_none(void)
{
    char *const argv[] = {(char *)"true", NULL};

    EXPECT(status_has("NoNewPrivs:\t1") && status_has("Seccomp:\t2"));
    FAILS(execv("/bin/true", argv), EPERM);
    FAILS(syscall(SYS_setuid, 0), EPERM);
    FAILS(syscall(SYS_unshare, 0), EPERM);
    FAILS(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL), EPERM);
    FAILS(syscall(SYS_bpf, 0, NULL, 0), EPERM);
    return 0;
}

static int others_are_out_of_reach(void)
{
#if !INSIDE_SANITIZER
    FAILS(kill(getppid(), 0), EPERM);
    FAILS(syscall(SYS_ptrace, 16, getppid(), 0, 0), EPERM);
    EXPECT(syscall(SYS_tgkill, getppid(), getppid(), 0) == -1);
    EXPECT(prlimit(getppid(), RLIMIT_NOFILE, NULL, NULL) == -1);
    EXPECT(socket(AF_INET, SOCK_STREAM, 0) == -1);
    EXPECT(socket(AF_NETLINK, SOCK_RAW, 0) == -1);
    EXPECT(ioctl(0, TIOCSTI, "x") == -1 && errno == ENOSYS);
#endif
    EXPECT(syscall(SYS_tgkill, getpid(), getpid(), 0) == 0);
    return 0;
}

static int no_code_is_made(void)
{
    void *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    EXPECT(data != MAP_FAILED);
    EXPECT(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
               MAP_FAILED &&
           errno == EPERM);
#if !INSIDE_SANITIZER
    FAILS(mprotect(data, 4096, PROT_READ | PROT_EXEC), EPERM);
    EXPECT(fork() == -1);
#endif
    EXPECT(mprotect(data, 4096, PROT_READ) == 0);
    return 0;
}

static void *limited_as_well(void *arg)
{
    char *const argv[] = {(char *)"true", NULL};

    *(bool *)arg = status_has("Seccomp:\t2") && execv("/bin/true", argv) == -1 && errno == EPERM;
    return NULL;
}

static int threads_inherit_it(void)
{
    bool is_limited = false;
    pthread_t thread;

    EXPECT(pthread_create(&thread, NULL, limited_as_well, &is_limited) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(is_limited);
    EXPECT(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
    return 0;
}

static int nothing_changes(void)
{
    EXPECT(status_has("NoNewPrivs:\t0"));
    return 0;
}

static void what_gives_power_is_refused_with_an_errno(void **state)
{
    inside(SANDBOX_ON, power_is_none);
}

static void other_processes_and_networks_are_out_of_reach(void **state)
{
    inside(SANDBOX_ON, others_are_out_of_reach);
}

static void no_code_is_made_or_started(void **state)
{
    inside(SANDBOX_ON, no_code_is_made);
}

static void threads_have_it_as_well(void **state)
{
    inside(SANDBOX_ON, threads_inherit_it);
}

static void off_is_off(void **state)
{
    inside(SANDBOX_OFF, nothing_changes);
}

static void modes_are_words(void **state)
{
    enum sandbox_mode mode;

    assert_true(sandbox_parse_mode("on", &mode) && mode == SANDBOX_ON);
    assert_true(sandbox_parse_mode("off", &mode) && mode == SANDBOX_OFF);
    assert_true(sandbox_parse_mode("auto", &mode) && mode == SANDBOX_AUTO);
    assert_false(sandbox_parse_mode("", &mode));
    assert_false(sandbox_parse_mode("ON", &mode));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_gives_power_is_refused_with_an_errno),
        cmocka_unit_test(other_processes_and_networks_are_out_of_reach),
        cmocka_unit_test(no_code_is_made_or_started),
        cmocka_unit_test(threads_have_it_as_well),
        cmocka_unit_test(off_is_off),
        cmocka_unit_test(modes_are_words),
    };

    return unit_run(tests);
}
