/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * io_uring: a batch goes to the kernel by one io_uring_enter.  What would block is done by the
 * kernel's own threads, so the page cache holds up nobody.
 *
 * With DEFER_TASKRUN the kernel does the last part of each operation in our thread, and only
 * when we enter it for that: it signals the eventfd and sets a flag in the ring as soon as
 * there is something to do.  So nothing interrupts us, and a loop that looks at the ring
 * instead of sleeping needs a call only when something has finished.
 *
 * No filter of system calls sees what goes by a ring, which could open files and sockets.  So the
 * kernel is told what ours are for, and takes nothing else.
 */

#include <errno.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cpus.h"
#include "core/block/engine.h"

/* Of the submission ring; the completion ring has twice as many.  Powers of two. */
#define MIN_ENTRIES 16u
#define MAX_ENTRIES 128u

/* Threads of the kernel for what would block, at once. */
#define WORKERS 4u

/* IORING_FEAT_SUBMIT_STABLE: the kernel copies iovecs when it is told (Linux 5.5). */
#define NEEDED_FEATURES (IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_NODROP)

struct uring {
    struct engine engine;
    struct io_uring ring;
    int file_fd; /* lent */
    int event_fd;
    unsigned count;   /* of the batch */
    bool is_disabled; /* it takes nothing yet: what it may be used for is still to be said */
};

static struct uring *uring_of(struct engine *engine)
{
    return containerof(engine, struct uring, engine);
}

/* One piece of memory is told without an iovec, which the kernel need not copy then. */
static void prepare_uring_read(const struct uring *uring, struct io_uring_sqe *sqe,
                               const struct engine_op *op)
{
    if (op->iov_count == 1) {
        io_uring_prep_read(sqe, uring->file_fd, op->iov->iov_base, (unsigned)op->iov->iov_len,
                           op->offset);
    } else {
        io_uring_prep_readv(sqe, uring->file_fd, op->iov, op->iov_count, op->offset);
    }
}

static void prepare_uring_write(const struct uring *uring, struct io_uring_sqe *sqe,
                                const struct engine_op *op)
{
    if (op->iov_count == 1) {
        io_uring_prep_write(sqe, uring->file_fd, op->iov->iov_base, (unsigned)op->iov->iov_len,
                            op->offset);
    } else {
        io_uring_prep_writev(sqe, uring->file_fd, op->iov, op->iov_count, op->offset);
    }
    sqe->rw_flags = op->flags & IO_FUA ? RWF_DSYNC : 0;
}

static bool uring_add(struct engine *engine, const struct engine_op *op)
{
    struct uring *uring = uring_of(engine);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

    if (!sqe) {
        return false;
    }
    switch (op->op) {
    case IO_READ:
        prepare_uring_read(uring, sqe, op);
        break;
    case IO_WRITE:
        prepare_uring_write(uring, sqe, op);
        break;
    case IO_FLUSH:
    default:
        io_uring_prep_fsync(sqe, uring->file_fd, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_data(sqe, op->data);
    uring->count++;
    return true;
}

/*
 * While we are in the kernel ourselves, nobody need be woken: whoever calls looks at the ring
 * afterwards.  The fence makes the store visible before that look.  Its partner is in the
 * kernel, between the atomic OR by which it tells of work (io_req_local_work_add) and its load
 * of these flags (io_eventfd_signal): a full barrier on x86, so elsewhere signals stay on.
 */
static void set_signals(struct uring *uring, bool on)
{
#ifdef __x86_64__
    (void)io_uring_cq_eventfd_toggle(&uring->ring, on); /* Linux before 5.8: always on */
    if (on) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
#endif
}

/* Take back the entries that the kernel has not taken: it only looks when it is entered. */
static void forget_rest(struct io_uring *ring)
{
    unsigned head = __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE);

    ring->sq.sqe_head = head;
    ring->sq.sqe_tail = head;
    __atomic_store_n(ring->sq.ktail, head, __ATOMIC_RELEASE);
}

static int uring_submit(struct engine *engine)
{
    struct uring *uring = uring_of(engine);
    unsigned count = uring->count;
    int ret;

    set_signals(uring, false);
    ret = io_uring_submit(&uring->ring);
    set_signals(uring, true);
    uring->count = 0;
    if (ret < (int)count) {
        forget_rest(&uring->ring);
    }
    if (ret == -EBUSY || ret == -EINTR) {
        return -EAGAIN;
    }
    return ret ? ret : -EIO;
}

/*
 * Has the kernel something to do before results can be seen?  The flag is taken down here,
 * before it is acted on.  The kernel also does so, but where it had done the work already by
 * the time that the one who brought it set the flag, it would stay set with nothing behind it:
 * each look would be a system call, until something else finishes.
 */
static bool take_flag(struct uring *uring)
{
    unsigned *flags = uring->ring.sq.kflags;

    return (__atomic_load_n(flags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN) &&
           (__atomic_fetch_and(flags, ~IORING_SQ_TASKRUN, __ATOMIC_SEQ_CST) & IORING_SQ_TASKRUN);
}

static unsigned take_events(struct io_uring *ring, struct engine_event *events, unsigned max)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;

    io_uring_for_each_cqe(ring, head, cqe)
    {
        if (count == max) {
            break;
        }
        events[count++] =
            (struct engine_event){.data = io_uring_cqe_get_data(cqe), .result = cqe->res};
    }
    io_uring_cq_advance(ring, count);
    return count;
}

static unsigned uring_reap(struct engine *engine, struct engine_event *events, unsigned max)
{
    struct uring *uring = uring_of(engine);

    while (take_flag(uring)) {
        set_signals(uring, false);
        (void)io_uring_get_events(&uring->ring); /* waits for nothing, so nothing ends it early */
        set_signals(uring, true);
    }
    return take_events(&uring->ring, events, max);
}

static int uring_fd(const struct engine *engine)
{
    return containerof(engine, struct uring, engine)->event_fd;
}

static unsigned entries_for(unsigned wanted)
{
    unsigned entries = MIN_ENTRIES;

    while (entries < wanted && entries < MAX_ENTRIES) {
        entries *= 2;
    }
    return entries;
}

/* Restrictions came with R_DISABLED (Linux 5.10): what has not the one has not the other. */
static int init_ring(struct uring *uring, unsigned entries, unsigned flags,
                     struct io_uring_params *params)
{
    int ret;

    *params = (struct io_uring_params){.flags = flags | IORING_SETUP_R_DISABLED};
    ret = io_uring_queue_init_params(entries, &uring->ring, params);
    uring->is_disabled = ret == 0;
    if (ret == -EINVAL) {
        *params = (struct io_uring_params){.flags = flags};
        ret = io_uring_queue_init_params(entries, &uring->ring, params);
    }
    return ret;
}

/* The best that this kernel has: since Linux 6.1, since 5.19, since ever. */
static int make_ring(struct uring *uring, unsigned entries)
{
    static const unsigned flags[] = {
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
            IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    struct io_uring_params params;
    int ret = -EINVAL;

    for (unsigned i = 0; ret == -EINVAL && i < ARRAY_SIZE(flags); i++) {
        ret = init_ring(uring, entries, flags[i], &params);
    }
    if (ret < 0) {
        return ret;
    }
    if ((params.features & NEEDED_FEATURES) != NEEDED_FEATURES) {
        io_uring_queue_exit(&uring->ring);
        return -ENOSYS;
    }
    uring->engine.max_inflight = params.cq_entries;
    return 0;
}

/*
 * The file is not registered: the kernel takes a ring down in its own time, and with the file in
 * it an image would stay locked for a while after a daemon that was killed.  Nor is the ring's own
 * fd, which would belong to this thread: another may close it.
 */
static void place_workers(struct uring *uring)
{
    struct cpus all, own;

    cpus_of_process(&all);
    cpus_of(&own, 0);
    if (cpus_beyond(&all, &own) >= 0) {
        (void)io_uring_register_iowq_aff(&uring->ring, sizeof(own.word),
                                         (const cpu_set_t *)own.word); /* a courtesy */
    }
}

/* Debian's liburing 2.3 declares functions for these, and has none. */
static int register_by_call(const struct io_uring *ring, unsigned what, void *arg, unsigned count)
{
    return syscall(SYS_io_uring_register, ring->ring_fd, what, arg, count) < 0 ? -errno : 0;
}

/*
 * What it takes from here on.  Registering is restricted as well: to the processors of its workers,
 * which are a setting.
 * Source: io_uring_register(2), IORING_REGISTER_RESTRICTIONS.
 */
static int restrict_ring(struct uring *uring)
{
    static struct io_uring_restriction only[] = {
        {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_IOWQ_AFF},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
    };
    int ret = register_by_call(&uring->ring, IORING_REGISTER_RESTRICTIONS, only, ARRAY_SIZE(only));

    return ret == 0 ? register_by_call(&uring->ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0) : ret;
}

static int register_all(struct uring *uring)
{
    unsigned workers[2] = {WORKERS, 0}; /* for files; 0: as it is */
    int ret = io_uring_register_eventfd(&uring->ring, uring->event_fd);

    if (ret == 0) {
        (void)io_uring_register_iowq_max_workers(&uring->ring, workers); /* a courtesy */
        place_workers(uring);
    }
    return ret == 0 && uring->is_disabled ? restrict_ring(uring) : ret;
}

static int uring_open(struct engine **out, const struct engine_opts *opts, struct err *err)
{
    struct uring *uring = calloc(1, sizeof(*uring));
    int ret;

    if (!uring) {
        return err_set(err, -ENOMEM, "image %s", opts->path);
    }
    uring->engine.ops = &engine_uring_ops;
    uring->file_fd = opts->fd;
    uring->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (uring->event_fd < 0) {
        ret = err_set(err, -errno, "image %s: no eventfd", opts->path);
        goto free_uring;
    }
    ret = make_ring(uring, entries_for(opts->wanted));
    if (ret < 0) {
        err_set(err, ret, "image %s: no io_uring", opts->path);
        goto close_event_fd;
    }
    ret = register_all(uring);
    if (ret < 0) {
        err_set(err, ret, "image %s: cannot set up io_uring", opts->path);
        goto exit_ring;
    }
    *out = &uring->engine;
    return 0;

exit_ring:
    io_uring_queue_exit(&uring->ring);
close_event_fd:
    close(uring->event_fd);
free_uring:
    free(uring);
    return ret;
}

static void uring_close(struct engine *engine)
{
    struct uring *uring = uring_of(engine);

    io_uring_queue_exit(&uring->ring);
    close(uring->event_fd);
    free(uring);
}

/* Of the thread that calls, for all of its rings; it is the engine's. */
static void uring_use_cpus(struct engine *engine, const struct cpus *cpus)
{
    struct uring *uring = uring_of(engine);

    (void)io_uring_register_iowq_aff(&uring->ring, sizeof(cpus->word),
                                     (const cpu_set_t *)cpus->word); /* a courtesy */
}

const struct engine_ops engine_uring_ops = {
    .name = "io_uring",
    .open = uring_open,
    .close = uring_close,
    .fd = uring_fd,
    .add = uring_add,
    .submit = uring_submit,
    .reap = uring_reap,
    .use_cpus = uring_use_cpus,
};
