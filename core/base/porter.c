/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* accept4, dup3 */
#include "core/base/porter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/close_range.h>
#include <unistd.h>

#include "core/base/fds.h"
#include "core/base/cpus.h"
#include "core/base/thread.h"

/* Of all owners together: they cost a thread each. */
#define PORTERS_MAX 512u

/* How long one stays without a job.  A front-end's next message with fds comes sooner. */
#define IDLE_MS 200

/*
 * Jobs go into gate[0], and whichever porter is free takes one from gate[1].
 *
 * Words shared between threads:
 *   at_work[i]  for whom a porter works; 0: free.  Claimed by the giver of a job, which carries the
 *               number, freed by the porter when it is done.
 *   waiting     porters that wait at the gate and were not promised a job.  A giver takes one off
 * or starts a new porter, so each job finds one; a porter that ends takes itself off.
 */
static int gate[2] = {-1, -1};
static _Atomic uintptr_t at_work[PORTERS_MAX];
static _Atomic int waiting;

/* As it goes through the gate: nothing lies between the members. */
struct job {
    uint32_t receives; /* 0: only empty the socket */
    uint32_t place;
    uint64_t want;
};

enum { JOB_SOCK, JOB_ANSWER, JOB_FDS };

/* ---- fds over a socket ---- */

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
};

/*
 * All fds that came, FDS_MAX at most.  `*is_cut`: some did not fit into our table.
 * Returns the bytes or -errno; -EMSGSIZE for a message that is longer, whose fds are there as well.
 */
static ssize_t receive_with_fds(int from, void *to, size_t len, int *fds, unsigned *count,
                                bool *is_cut)
{
    union fds_control control;
    struct iovec iov = {.iov_base = to, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t got;

    *count = 0;
    do {
        got = recvmsg(from, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        *is_cut = false;
        return -errno;
    }
    *is_cut = (msg.msg_flags & MSG_CTRUNC) != 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            unsigned here = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

            memcpy(fds + *count, CMSG_DATA(c), sizeof(int) * here);
            *count += here;
        }
    }
    return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : got;
}

/* ---- the porter's side ---- */

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        close(fds[i]);
    }
}

/* Whoever asked may have given up. */
static void send_answer(int to, struct porter_answer *answer)
{
    int let_in[PORTER_FDS];
    unsigned count = 0;

    for (unsigned i = 0; i < answer->fd_count; i++) {
        if (answer->fd[i].kind != FOREIGN_REFUSED) {
            let_in[count++] = answer->fd[i].fd;
        }
    }
    (void)fds_send(to, answer, sizeof(*answer), let_in, count);
}

/*
 * Answer first, then let go of the sockets, so that a peer sees the connection end although we may
 * still wait, and only then close what came.
 */
static void receive_fds(const struct job *job, int sock, int to)
{
    struct porter_answer answer;
    int fds[FDS_MAX];
    unsigned count;

    memset(&answer, 0, sizeof(answer)); /* what lies between members is sent as well */
    answer.got = receive_with_fds(sock, answer.bytes, job->want, fds, &count, &answer.has_more_fds);
    answer.fd_count = min_of(count, (unsigned)PORTER_FDS);
    answer.has_more_fds |= count > PORTER_FDS;
    for (unsigned i = 0; i < answer.fd_count; i++) {
        answer.fd[i].fd = fds[i];
        foreign_look(&answer.fd[i]);
    }
    send_answer(to, &answer);
    close(to);
    close(sock);
    close_all(fds, count);
}

/* Fds that are given no room are closed by the kernel, for us. */
static void drain_socket(int sock)
{
    uint8_t unused[4096];

    while (recv(sock, unused, sizeof(unused), MSG_DONTWAIT) > 0) {
    }
}

/*
 * Empty what was shut down: then it does not matter who closes it last.  Of one that listens, what
 * was sent on connections that nobody has accepted.
 */
static void empty_socket(int sock)
{
    int fd;

    drain_socket(sock);
    while ((fd = accept4(sock, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        (void)shutdown(fd, SHUT_RDWR); /* its peer may have left */
        drain_socket(fd);
        close(fd);
    }
    close(sock);
}

static void work_on(const struct job *job, const int *fds)
{
    if (job->receives) {
        receive_fds(job, fds[JOB_SOCK], fds[JOB_ANSWER]);
    } else {
        empty_socket(fds[JOB_SOCK]);
    }
    atomic_store_explicit(&at_work[job->place], 0, memory_order_release);
}

/* Returns false when there was none for a while, or something else than a job. */
static bool take_job(struct job *job, int *fds)
{
    struct pollfd at_gate = {.fd = gate[1], .events = POLLIN};
    int all[FDS_MAX];
    unsigned count = 0;
    bool is_cut;

    if (poll(&at_gate, 1, IDLE_MS) != 1) {
        return false;
    }
    if (receive_with_fds(gate[1], job, sizeof(*job), all, &count, &is_cut) != sizeof(*job) ||
        count > JOB_FDS || job->place >= PORTERS_MAX || job->want > PORTER_BYTES) {
        close_all(all, count);
        return false;
    }
    for (unsigned i = 0; i < JOB_FDS; i++) {
        fds[i] = i < count ? all[i] : -1;
    }
    return true;
}

/* Returns false when there is nobody to take. */
static bool take_waiting(void)
{
    int now = atomic_load_explicit(&waiting, memory_order_relaxed);

    while (now > 0) {
        if (atomic_compare_exchange_weak(&waiting, &now, now - 1)) {
            return true;
        }
    }
    return false;
}

/*
 * From here on a table of file descriptors of our own, with our end of the gate and the standard
 * ones.  What else the kernel copies is closed, see reserve.  A kernel without this (before 5.9)
 * leaves us in that of the process, which works as well until the process is killed while a porter
 * waits.  The thread sanitizer takes the same number in two tables for the same file.
 */
static void leave_table(void)
{
#ifndef __SANITIZE_THREAD__
    const unsigned own = (unsigned)gate[1];

    if (close_range(own + 1, UINT_MAX, CLOSE_RANGE_UNSHARE) == 0 && own > STDERR_FILENO + 1) {
        (void)close_range(STDERR_FILENO + 1, own - 1, 0); /* good numbers: it cannot fail */
    }
#endif
}

static void *run_porter(void *unused)
{
    struct job job;
    int fds[JOB_FDS];

    (void)unused;
    thread_set_name("porter");
    cpus_use_all(); /* it serves all disks, and one of them has started it */
    leave_table();
    for (;;) {
        if (take_job(&job, fds)) {
            work_on(&job, fds);
            atomic_fetch_add(&waiting, 1);
        } else if (take_waiting()) {
            return NULL; /* else somebody has promised a job */
        }
    }
}

/* ---- the side of those who ask ---- */

unsigned porter_count(uintptr_t owner)
{
    unsigned count = 0;

    for (unsigned i = 0; i < PORTERS_MAX; i++) {
        count += atomic_load_explicit(&at_work[i], memory_order_relaxed) == owner;
    }
    return count;
}

/*
 * The number of a place in at_work, or -EBUSY.  The last one of an owner is kept for a socket that
 * has to be closed, as the connection that cannot go on without a porter needs one for that.
 */
static int claim_place(const struct job *job, uintptr_t owner)
{
    if (porter_count(owner) >= PORTERS_OF_ONE - job->receives) {
        return -EBUSY;
    }
    for (unsigned i = 0; i < PORTERS_MAX; i++) {
        uintptr_t nobody = 0;

        if (atomic_compare_exchange_strong(&at_work[i], &nobody, owner)) {
            return (int)i;
        }
    }
    return -EBUSY;
}

/* One that waits, or a new one. */
static int find_porter(void)
{
    pthread_t thread;
    int ret;

    if (take_waiting()) {
        return 0;
    }
    ret = thread_start(&thread, run_porter, NULL);
    if (ret == 0) {
        ret = -pthread_detach(thread);
    }
    return ret;
}

static int give_job(struct job *job, const int *fds, unsigned count, uintptr_t owner)
{
    int place = claim_place(job, owner);
    int ret;

    if (place < 0) {
        return place;
    }
    job->place = (unsigned)place;
    ret = find_porter();
    if (ret == 0) {
        ssize_t sent = fds_send(gate[0], job, sizeof(*job), fds, count);

        if (sent == (ssize_t)sizeof(*job)) {
            return 0;
        }
        ret = sent < 0 ? (int)sent : -EMSGSIZE;
        atomic_fetch_add(&waiting, 1); /* the one that was found goes without */
    }
    atomic_store_explicit(&at_work[place], 0, memory_order_release);
    return ret;
}

static int init_error;

/*
 * A copy of a table has each fd below the one asked for, up to a whole word of its bitmap, and a
 * porter has to close them.  That of an image or of guest memory may take for ever (on FUSE or
 * NFS), so these numbers are taken for good, by what costs nothing to close.
 * Source: Linux, fs/file.c, dup_fd() and sane_fdtable_size().
 */
static int reserve_job(void)
{
    const int word = 64;
    const int end = (gate[1] / word + 1) * word;

    for (int fd = STDERR_FILENO + 1; fd < end; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && dup3(gate[0], fd, O_CLOEXEC) < 0) {
            return -errno;
        }
    }
    return 0;
}

static void make_gate(void)
{
    init_error =
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gate) < 0 ? -errno : reserve_job();
}

int porter_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, make_gate);
    return init_error;
}

/* ---- sockets that found no porter ---- */

/* They are given again whenever somebody has a job.  Places are few: it takes hundreds of porters
 * that wait, or a host without threads, to fill one. */
static struct {
    pthread_mutex_t lock;
    unsigned count;
    struct {
        int sock;
        uintptr_t owner;
    } at[64];
} parked = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Returns false when there is no room. */
static bool park_socket(int sock, uintptr_t owner)
{
    bool fits;

    (void)pthread_mutex_lock(&parked.lock);
    fits = parked.count < ARRAY_SIZE(parked.at);
    if (fits) {
        parked.at[parked.count].sock = sock;
        parked.at[parked.count++].owner = owner;
    }
    (void)pthread_mutex_unlock(&parked.lock);
    return fits;
}

static void give_parked(void)
{
    unsigned kept = 0;

    (void)pthread_mutex_lock(&parked.lock);
    for (unsigned i = 0; i < parked.count; i++) {
        struct job job = {.receives = 0};

        if (give_job(&job, &parked.at[i].sock, 1, parked.at[i].owner) == 0) {
            close(parked.at[i].sock);
        } else {
            parked.at[kept++] = parked.at[i];
        }
    }
    parked.count = kept;
    (void)pthread_mutex_unlock(&parked.lock);
}

int porter_receive(int sock, size_t want, int answer, uintptr_t owner)
{
    struct job job = {.receives = 1, .want = want};
    const int fds[JOB_FDS] = {[JOB_SOCK] = sock, [JOB_ANSWER] = answer};

    give_parked();
    return want <= PORTER_BYTES ? give_job(&job, fds, JOB_FDS, owner) : -EINVAL;
}

/* Those that were let in have come in the order of the list. */
static unsigned name_fds(struct porter_answer *answer, const int *fds, unsigned count)
{
    unsigned used = 0;

    for (unsigned i = 0; i < answer->fd_count; i++) {
        struct foreign *foreign = &answer->fd[i];

        foreign->fd = -1;
        if (foreign->kind != FOREIGN_REFUSED && used < count) {
            foreign->fd = fds[used++];
        } else if (foreign->kind != FOREIGN_REFUSED) {
            answer->has_more_fds = true; /* our table is full */
        }
    }
    return used;
}

int porter_take(int answer, struct porter_answer *to)
{
    int fds[FDS_MAX];
    unsigned count;
    bool is_cut;
    ssize_t got = receive_with_fds(answer, to, sizeof(*to), fds, &count, &is_cut);

    if (got != (ssize_t)sizeof(*to)) {
        close_all(fds, count);
        return got < 0 ? (int)got : -EIO;
    }
    (void)name_fds(to, fds, count);
    return 0;
}

/*
 * Once it is shut down nothing more can come, and with nothing in it nothing is closed but itself.
 */
void porter_close(int sock, uintptr_t owner)
{
    struct job job = {.receives = 0};
    int unread = 0;

    give_parked();
    (void)shutdown(sock, SHUT_RDWR); /* its peer may have left */
    if ((ioctl(sock, FIONREAD, &unread) < 0 || unread > 0) && give_job(&job, &sock, 1, owner) < 0 &&
        park_socket(sock, owner)) {
        return;
    }
    close(sock);
}
