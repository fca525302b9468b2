/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/dying.h"

#include "tests/unit/unit.h"

#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t begin(void (*hold)(void *arg), void *arg, bool is_traced)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        hold(arg);
        if (is_traced && ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) {
            _exit(1);
        }
        raise(SIGSTOP);
        for (;;) {
            pause();
        }
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    return WIFSTOPPED(status) ? pid : -1;
}

pid_t living_begin(void (*hold)(void *arg), void *arg)
{
    pid_t pid = begin(hold, arg, false);

    assert_true(pid > 0);
    return pid;
}

void living_end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* It stops once more where a process ends, before it closes its files.  Source: ptrace(2). */
pid_t dying_begin(void (*hold)(void *arg), void *arg)
{
    pid_t pid = begin(hold, arg, true);
    int status = 0;

    if (pid < 0) {
        return -1;
    }
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEEXIT), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSTOPPED(status) && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8));
    return pid;
}

void dying_end(pid_t pid)
{
    assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A message that nobody receives.  Source: unix(7), SCM_RIGHTS. */
int adrift_begin(int fd)
{
    char text = 0;
    struct iovec byte = {.iov_base = &text, .iov_len = 1};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    struct msghdr message = {.msg_iov = &byte,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control.room)};
    int pair[2];

    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(sendmsg(pair[0], &message, 0), 1);
    close(pair[0]);
    close(fd);
    return pair[1];
}

void adrift_end(int adrift)
{
    close(adrift);
}
