/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A raw file or host block device.  What was queued in a loop turn is handed to the engine at
 * its end; this file knows requests, the engine knows the kernel.
 *
 * Guest memory goes to the kernel as it is.  With O_DIRECT, buffers that the file system
 * would refuse go through the bounce pool, a piece at a time.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/backend.h"
#include "core/bounce.h"
#include "core/engine.h"
#include "core/image_file.h"
#include "core/iov.h"

struct file {
    struct backend backend;
    struct image_file image; /* owned */
    struct engine *engine;   /* owned */
    unsigned inflight;       /* operations that the engine has */
    unsigned finished;       /* operations, ever */
    struct file_io *pending; /* to be submitted, in order */
    struct file_io **pending_last;
    struct file_io *waiting; /* for a bounce buffer, in order */
    struct file_io **waiting_last;
    struct bounce bounce;
};

/* A request's private bytes. */
struct file_io {
    struct file_io *next;
    struct io *io;
    uint8_t *buffer; /* bounce buffer, NULL: the guest's memory is good as it is */
    struct iovec buffer_iov;
    uint64_t done; /* bytes */
};

_Static_assert(sizeof(struct file_io) <= BACKEND_IO_SIZE, "room for the file backend");

static struct file *file_of(struct backend *backend)
{
    return containerof(backend, struct file, backend);
}

static void append(struct file_io ***last, struct file_io *fio)
{
    fio->next = NULL;
    **last = fio;
    *last = &fio->next;
}

static struct file_io *take_first(struct file_io **first, struct file_io ***last)
{
    struct file_io *fio = *first;

    assert(fio);
    *first = fio->next;
    if (!*first) {
        *last = first;
    }
    return fio;
}

static void prepare(struct file *file, struct file_io *fio)
{
    append(&file->pending_last, fio);
}

/* As much as the buffer holds.  The next piece of a write leaves the guest's memory now. */
static void prepare_bounced(struct file *file, struct file_io *fio)
{
    struct io *io = fio->io;

    fio->buffer_iov.iov_base = fio->buffer;
    fio->buffer_iov.iov_len = min_of(io->length - fio->done, (uint64_t)BOUNCE_BYTES);
    if (io->op == IO_WRITE) {
        iov_take(&io->iov, &io->iov_count, fio->buffer, fio->buffer_iov.iov_len);
    }
    prepare(file, fio);
}

static bool needs_bounce(const struct file *file, const struct io *io)
{
    return file->image.is_direct && io->op != IO_FLUSH &&
           !iov_is_aligned(io->iov, io->iov_count, file->image.mem_align, file->backend.block_size);
}

static void file_queue(struct backend *backend, struct io *io)
{
    struct file *file = file_of(backend);
    struct file_io *fio = io->priv;

    fio->io = io;
    fio->done = 0;
    fio->buffer = NULL;
    if (!needs_bounce(file, io)) {
        prepare(file, fio);
        return;
    }
    fio->buffer = bounce_get(&file->bounce);
    if (fio->buffer) {
        prepare_bounced(file, fio);
    } else {
        append(&file->waiting_last, fio);
    }
}

/* Its buffer goes to the one that has waited for longest. */
static void release_buffer(struct file *file, struct file_io *fio)
{
    struct file_io *next;

    if (!fio->buffer) {
        return;
    }
    bounce_put(&file->bounce, fio->buffer);
    if (file->waiting) {
        next = take_first(&file->waiting, &file->waiting_last);
        next->buffer = bounce_get(&file->bounce);
        prepare_bounced(file, next);
    }
}

static void finish(struct file *file, struct file_io *fio, int64_t result)
{
    release_buffer(file, fio);
    file->finished++;
    fio->io->result = result;
    fio->io->done(fio->io);
}

/*
 * A transfer has moved nothing: a read at the end of a file that is shorter than the disk, or
 * a write with no room.  Zeroes in place of lost data would be a lie, so both are errors.
 */
static int64_t nothing_moved(const struct io *io)
{
    return io->op == IO_READ ? -ENODATA : -ENOSPC;
}

/* Account for `bytes` moved.  Returns true when there is more to do. */
static bool move_on(struct file_io *fio, size_t bytes)
{
    struct io *io = fio->io;

    fio->done += bytes;
    if (!fio->buffer) {
        if (fio->done < io->length) {
            iov_take(&io->iov, &io->iov_count, NULL, bytes);
        }
    } else if (io->op == IO_READ) {
        iov_fill(&io->iov, &io->iov_count, fio->buffer, bytes);
    }
    return fio->done < io->length;
}

/*
 * A bounced write that came short: the rest of the piece is still in its buffer, and gone
 * from the guest's pieces.  It is an error of the medium; the driver will write again.
 */
static bool is_short_bounced_write(const struct file_io *fio, size_t bytes)
{
    return fio->buffer && fio->io->op == IO_WRITE && bytes < fio->buffer_iov.iov_len;
}

static void complete(struct file *file, struct file_io *fio, int64_t result)
{
    if (result < 0 || fio->io->op == IO_FLUSH) {
        finish(file, fio, result < 0 ? result : 0);
    } else if (result == 0 || is_short_bounced_write(fio, (size_t)result)) {
        finish(file, fio, nothing_moved(fio->io));
    } else if (!move_on(fio, (size_t)result)) {
        finish(file, fio, 0);
    } else if (fio->buffer) {
        prepare_bounced(file, fio);
    } else {
        prepare(file, fio);
    }
}

/* What is left of it, as far as it has memory for the kernel. */
static bool add(struct file *file, struct file_io *fio)
{
    const struct io *io = fio->io;

    return file->engine->ops->add(file->engine, &(struct engine_op){
                                                    .op = io->op,
                                                    .is_fua = io->is_fua,
                                                    .iov = fio->buffer ? &fio->buffer_iov : io->iov,
                                                    .iov_count = fio->buffer ? 1 : io->iov_count,
                                                    .offset = io->offset + fio->done,
                                                    .data = fio,
                                                });
}

static unsigned fill_batch(struct file *file)
{
    unsigned room = file->engine->max_inflight - file->inflight;
    unsigned count = 0;

    for (struct file_io *fio = file->pending; fio && count < room; fio = fio->next) {
        if (!add(file, fio)) {
            break;
        }
        count++;
    }
    return count;
}

/*
 * The engine takes a prefix of the batch and speaks of the first that it did not take.
 * -EAGAIN with something under way: the rest waits for completions.  Else the first is at
 * fault, and only that one fails.
 */
static unsigned file_submit(struct backend *backend, unsigned *calls)
{
    struct file *file = file_of(backend);
    unsigned submitted = 0;

    *calls = 0;
    while (fill_batch(file) > 0) {
        int ret = file->engine->ops->submit(file->engine);

        (*calls)++;
        if (ret == -EAGAIN && file->inflight > 0) {
            break;
        }
        if (ret < 0) {
            finish(file, take_first(&file->pending, &file->pending_last), ret);
            continue;
        }
        for (int i = 0; i < ret; i++) {
            take_first(&file->pending, &file->pending_last);
        }
        file->inflight += (unsigned)ret;
        submitted += (unsigned)ret;
    }
    return submitted;
}

static unsigned file_reap(struct backend *backend)
{
    struct file *file = file_of(backend);
    struct engine_event events[ENGINE_EVENTS];
    unsigned finished = file->finished;
    unsigned count;

    if (file->inflight == 0) {
        return 0;
    }
    do {
        count = file->engine->ops->reap(file->engine, events, ENGINE_EVENTS);
        for (unsigned i = 0; i < count; i++) {
            file->inflight--;
            complete(file, events[i].data, events[i].result);
        }
    } while (count == ENGINE_EVENTS);
    return file->finished - finished;
}

static bool file_is_held_back(const struct backend *backend)
{
    return containerof(backend, struct file, backend)->pending != NULL;
}

static int file_fd(struct backend *backend)
{
    const struct file *file = file_of(backend);

    return file->engine->ops->fd(file->engine);
}

static int check_engine(const struct backend_opts *opts, struct err *err)
{
    if (opts->engine != ENGINE_IO_URING) {
        return 0;
    }
    err_say(err, -ENOTSUP, "image %s: engine io_uring: this vblkd is built without it", opts->path);
    err_hint(err, "use engine aio or auto");
    return -ENOTSUP;
}

static void state_facts(struct file *file, const struct backend_opts *opts)
{
    file->backend.ops = &backend_file_ops;
    file->backend.size = file->image.size;
    file->backend.block_size = file->image.block_size;
    file->backend.logical_block = file->image.logical_block;
    file->backend.physical_block = file->image.physical_block;
    file->backend.opt_io = file->image.opt_io;
    file->backend.max_inflight = file->engine->max_inflight;
    file->backend.engine = file->engine->ops->name;
    file->backend.engine_reason =
        opts->engine == ENGINE_AIO ? "asked for" : "vblkd is built with no other";
    file->pending_last = &file->pending;
    file->waiting_last = &file->waiting;
}

static int open_engine(struct file *file, const struct backend_opts *opts, struct err *err)
{
    struct engine_opts engine_opts = {
        .path = file->image.path,
        .fd = file->image.fd,
        .wanted = opts->max_inflight,
    };

    return engine_aio_ops.open(&file->engine, &engine_opts, err);
}

static int file_open(struct backend **out, const struct backend_opts *opts, struct err *err)
{
    struct file *file;
    int ret = check_engine(opts, err);

    if (ret < 0) {
        return ret;
    }
    file = calloc(1, sizeof(*file));
    if (!file) {
        return err_set(err, -ENOMEM, "image %s", opts->path);
    }
    ret = bounce_init(&file->bounce);
    if (ret < 0) {
        err_set(err, ret, "image %s: bounce buffers", opts->path);
        goto free_file;
    }
    ret = image_file_open(&file->image, opts, err);
    if (ret < 0) {
        goto fini_bounce;
    }
    ret = open_engine(file, opts, err);
    if (ret < 0) {
        goto close_image;
    }
    state_facts(file, opts);
    *out = &file->backend;
    return 0;

close_image:
    image_file_abandon(&file->image);
fini_bounce:
    bounce_fini(&file->bounce);
free_file:
    free(file);
    return ret;
}

static void file_close(struct backend *backend)
{
    struct file *file = file_of(backend);

    file->engine->ops->close(file->engine);
    image_file_close(&file->image);
    bounce_fini(&file->bounce);
    free(file);
}

const struct backend_ops backend_file_ops = {
    .name = "file",
    .open = file_open,
    .close = file_close,
    .fd = file_fd,
    .queue = file_queue,
    .submit = file_submit,
    .reap = file_reap,
    .is_held_back = file_is_held_back,
};
