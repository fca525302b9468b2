/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1
#include "daemon/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/fds.h"
#include "core/base/log.h"
#include "core/base/names.h"
#include "daemon/broker_ask.h"
#include "daemon/broker_work.h"
#include "daemon/sandbox_calls.h"
#include "daemon/sandbox_caps.h"

/* Questions at once: file systems that do not answer keep some. */
#define JOBS_MAX 256u

struct job {
    const struct broker_rules *rules;
    struct names_question question;
    int reply; /* owned */
    int fd;    /* owned, -1: none */
};

static atomic_uint jobs;

static void answer_with(const struct job *job, const struct names_answer *answer)
{
    bool has_fd = answer->ret >= 0 && broker_opens(&job->question);

    (void)fds_send(job->reply, answer, sizeof(*answer), &answer->ret, has_fd ? 1 : 0);
    if (has_fd) {
        close(answer->ret);
    }
}

static void end_job(struct job *job)
{
    close(job->reply);
    if (job->fd >= 0) {
        close(job->fd);
    }
    free(job);
    atomic_fetch_sub(&jobs, 1);
}

static void *run_job(void *arg)
{
    struct job *job = arg;
    struct names_answer answer;

    broker_work(job->rules, &job->question, job->fd, &answer);
    answer_with(job, &answer);
    end_job(job);
    return NULL;
}

static void start_job(struct job *job)
{
    const struct names_answer full = {.ret = -1, .code = EAGAIN};
    pthread_t thread;

    if (atomic_fetch_add(&jobs, 1) < JOBS_MAX && pthread_create(&thread, NULL, run_job, job) == 0) {
        (void)pthread_detach(thread);
        return;
    }
    (void)fds_send(job->reply, &full, sizeof(full), NULL, 0);
    end_job(job);
}

/* As many as were sent; there is room for no more than two, the kernel closes the others. */
static unsigned take_fds(struct msghdr *msg, int fds[2])
{
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
    unsigned count = 0;

    if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
        count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(cmsg), count * sizeof(int));
    }
    return count;
}

static bool is_whole(const struct names_question *q)
{
    return memchr(q->path, '\0', sizeof(q->path)) && memchr(q->text, '\0', sizeof(q->text)) &&
           memchr(q->value, '\0', sizeof(q->value));
}

/* Returns false at the end. */
static bool take_question(const struct broker_rules *rules, int sock)
{
    struct job *job = calloc(1, sizeof(*job));
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = job ? &job->question : NULL,
                        .iov_len = job ? sizeof(job->question) : 0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control)};
    int fds[2] = {-1, -1};
    ssize_t len;

    if (!job) {
        return false;
    }
    len = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    if (len <= 0 && errno != EINTR) {
        free(job);
        return false;
    }
    (void)take_fds(&msg, fds);
    job->rules = rules;
    job->reply = fds[0];
    job->fd = fds[1];
    if (len != (ssize_t)sizeof(job->question) || fds[0] < 0 || !is_whole(&job->question)) {
        atomic_fetch_add(&jobs, 1);
        end_job(job); /* who asks so gets no answer */
    } else {
        start_job(job);
    }
    return true;
}

/* What is sent to all processes of a terminal, or of a service, is for the one that serves. */
static void stay(void)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGPWR, SIGXCPU};

    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++) {
        (void)signal(signals[i], SIG_IGN);
    }
}

__attribute__((noreturn)) static void run(const struct broker_rules *rules, int sock, bool limit)
{
    struct err err = {0};
    int own = dup2(sock, STDERR_FILENO + 1);

    if (own < 0) {
        _exit(EXIT_FAILURE);
    }
    (void)close_range((unsigned)own + 1, UINT_MAX, 0);
    (void)fcntl(own, F_SETFD, FD_CLOEXEC);
    stay();
    (void)prctl(PR_SET_NAME, "vblkd-broker");
    /* The end of the socket tells in any case, but that may be held by a thread in the kernel. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (limit) {
        (void)sandbox_caps_limit(&err);
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        (void)sandbox_calls_limit(&err);
    }
    while (take_question(rules, own)) {
    }
    _exit(EXIT_SUCCESS);
}

int broker_start(struct broker_rules *rules, bool limit, struct err *err)
{
    int pair[2];
    pid_t child;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return err_set(err, -errno, "broker");
    }
    rules->asker = getpid();
    child = fork();
    if (child == 0) {
        close(pair[0]);
        run(rules, pair[1], limit);
    }
    close(pair[1]);
    if (child < 0) {
        close(pair[0]);
        return err_set(err, -errno, "broker");
    }
    (void)signal(SIGCHLD, SIG_IGN); /* nobody waits for it */
    broker_ask_by(pair[0]);
    return 0;
}
