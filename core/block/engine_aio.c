/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Linux AIO: a batch goes to the kernel by one io_submit, which copies the iocbs and their
 * iovecs; an eventfd tells of results, which are read from the kernel's ring without a call.
 * It does not block with O_DIRECT; with the page cache io_submit does what it is asked.
 */

#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/block/aio_ring.h"
#include "core/block/engine.h"

/* Fewer than this at once is no use: then no AIO context is to be had. */
#define MIN_INFLIGHT 16u

/*
 * Some images (RAM disks, the page cache) have done all that they are asked by the time that
 * io_submit comes back; to signal each end costs a tenth of it all, for nobody.  After so many
 * such batches in a row they go unsignalled, and if one of those does not end at once, the lane
 * looks for it every millisecond, and we want twice as many the next time.
 */
#define AT_ONCE_MIN 64u
#define AT_ONCE_MAX (1u << 24)

struct aio {
    struct engine engine;
    io_context_t context;
    struct aio_ring ring;
    int file_fd; /* lent */
    int event_fd;
    unsigned inflight;
    unsigned at_once;        /* batches in a row that had ended when io_submit came back */
    unsigned at_once_needed; /* to go without signals */
    bool is_fresh;           /* a batch that may have ended at once has not been looked for */
    bool has_slow;           /* the batch has what never ends at once */
    unsigned count;          /* of the batch */
    struct iocb *pointer[ENGINE_BATCH];
    struct iocb iocb[ENGINE_BATCH];
};

static struct aio *aio_of(struct engine *engine)
{
    return containerof(engine, struct aio, engine);
}

/* One piece of memory is told without an iovec, which the kernel need not copy then. */
static void prepare_aio_read(const struct aio *aio, struct iocb *iocb, const struct engine_op *op)
{
    if (op->iov_count == 1) {
        io_prep_pread(iocb, aio->file_fd, op->iov->iov_base, op->iov->iov_len,
                      (long long)op->offset);
    } else {
        io_prep_preadv(iocb, aio->file_fd, op->iov, (int)op->iov_count, (long long)op->offset);
    }
}

static void prepare_aio_write(const struct aio *aio, struct iocb *iocb, const struct engine_op *op)
{
    if (op->iov_count == 1) {
        io_prep_pwrite(iocb, aio->file_fd, op->iov->iov_base, op->iov->iov_len,
                       (long long)op->offset);
    } else {
        io_prep_pwritev(iocb, aio->file_fd, op->iov, (int)op->iov_count, (long long)op->offset);
    }
    iocb->aio_rw_flags = op->flags & IO_FUA ? RWF_DSYNC : 0;
}

static bool aio_add(struct engine *engine, const struct engine_op *op)
{
    struct aio *aio = aio_of(engine);
    struct iocb *iocb;

    if (aio->count == ENGINE_BATCH) {
        return false;
    }
    iocb = &aio->iocb[aio->count];
    switch (op->op) {
    case IO_READ:
        prepare_aio_read(aio, iocb, op);
        break;
    case IO_WRITE:
        prepare_aio_write(aio, iocb, op);
        break;
    case IO_FLUSH:
    default:
        io_prep_fdsync(iocb, aio->file_fd);
        break;
    }
    aio->has_slow |= op->op == IO_FLUSH || (op->flags & IO_FUA);
    iocb->data = op->data;
    aio->pointer[aio->count++] = iocb;
    return true;
}

static void signal_batch(struct aio *aio)
{
    for (unsigned i = 0; i < aio->count; i++) {
        io_set_eventfd(&aio->iocb[i], aio->event_fd);
    }
}

static int aio_submit(struct engine *engine)
{
    struct aio *aio = aio_of(engine);
    bool is_silent = aio->at_once >= aio->at_once_needed && aio->inflight == 0 && !aio->has_slow;
    int ret;

    if (!is_silent) {
        signal_batch(aio);
    }
    ret = io_submit(aio->context, aio->count, aio->pointer);
    if (ret > 0) {
        aio->inflight += (unsigned)ret;
        aio->is_fresh = !aio->has_slow;
        engine->must_look |= is_silent;
    }
    aio->count = 0;
    aio->has_slow = false;
    return ret ? ret : -EIO;
}

/* All results that there are have been taken: had the last batch ended at once? */
static void judge_batch(struct aio *aio)
{
    if (aio->is_fresh && aio->inflight == 0) {
        aio->at_once++;
    } else if (aio->is_fresh) {
        aio->at_once = 0;
        if (aio->engine.must_look && aio->at_once_needed < AT_ONCE_MAX) {
            aio->at_once_needed *= 2;
        }
    }
    aio->is_fresh = false;
    aio->engine.must_look &= aio->inflight > 0;
}

static unsigned ask_kernel(struct aio *aio, struct engine_event *events, unsigned max)
{
    struct timespec now = {0};
    struct io_event done[ENGINE_EVENTS];
    int count = io_getevents(aio->context, 0, (long)max, done, &now);

    for (int i = 0; i < count; i++) {
        events[i].data = done[i].data;
        events[i].result = (long)done[i].res;
    }
    return count > 0 ? (unsigned)count : 0;
}

static unsigned aio_reap(struct engine *engine, struct engine_event *events, unsigned max)
{
    struct aio *aio = aio_of(engine);
    unsigned count =
        aio->ring.shared ? aio_ring_take(&aio->ring, events, max) : ask_kernel(aio, events, max);

    aio->inflight -= count;
    if (count < max) {
        judge_batch(aio);
    }
    return count;
}

static int aio_fd(const struct engine *engine)
{
    return containerof(engine, struct aio, engine)->event_fd;
}

static long read_number(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    long number = -1;

    if (fd >= 0) {
        if (read(fd, text, sizeof(text) - 1) > 0) {
            number = strtol(text, NULL, 10);
        }
        close(fd);
    }
    return number;
}

/* The host has a limited number of AIO slots: take fewer where it has to be. */
static int setup_context(struct aio *aio, const struct engine_opts *opts, struct err *err)
{
    unsigned count = opts->wanted < MIN_INFLIGHT ? MIN_INFLIGHT : opts->wanted;
    int ret;

    while ((ret = io_setup((int)count, &aio->context)) == -EAGAIN && count > MIN_INFLIGHT) {
        count /= 2;
    }
    if (ret < 0) {
        err_set(err, ret, "image %s: no AIO context for %u requests", opts->path, count);
        if (ret == -EAGAIN) {
            err_hint(err, "all %ld of fs.aio-max-nr are taken (%ld): raise it with sysctl",
                     read_number("/proc/sys/fs/aio-max-nr"), read_number("/proc/sys/fs/aio-nr"));
        }
        return ret;
    }
    aio->engine.max_inflight = count;
    (void)aio_ring_open(&aio->ring, aio->context); /* else the kernel is asked each time */
    return 0;
}

static int aio_open(struct engine **out, const struct engine_opts *opts, struct err *err)
{
    struct aio *aio = calloc(1, sizeof(*aio));
    int ret;

    if (!aio) {
        return err_set(err, -ENOMEM, "image %s", opts->path);
    }
    aio->engine.ops = &engine_aio_ops;
    aio->file_fd = opts->fd;
    aio->at_once_needed = AT_ONCE_MIN;
    aio->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (aio->event_fd < 0) {
        ret = err_set(err, -errno, "image %s: no eventfd", opts->path);
        goto free_aio;
    }
    ret = setup_context(aio, opts, err);
    if (ret < 0) {
        goto close_event_fd;
    }
    *out = &aio->engine;
    return 0;

close_event_fd:
    close(aio->event_fd);
free_aio:
    free(aio);
    return ret;
}

static void aio_close(struct engine *engine)
{
    struct aio *aio = aio_of(engine);

    io_destroy(aio->context);
    close(aio->event_fd);
    free(aio);
}

const struct engine_ops engine_aio_ops = {
    .name = "aio",
    .open = aio_open,
    .close = aio_close,
    .fd = aio_fd,
    .add = aio_add,
    .submit = aio_submit,
    .reap = aio_reap,
};
