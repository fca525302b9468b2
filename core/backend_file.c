/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A raw file or host block device.  What was queued in a loop turn is handed to the engine at
 * its end; this file knows requests, the engine knows the kernel.
 *
 * Guest memory goes to the kernel as it is.  With O_DIRECT, buffers that the file system
 * would refuse go through the bounce pool, a piece at a time.
 */

#include <errno.h>
#include <stdlib.h>

#include "core/backend.h"
#include "core/bounce.h"
#include "core/engine.h"
#include "core/file_io.h"
#include "core/image_file.h"
#include "core/iov.h"
#include "core/merge.h"

struct file {
    struct backend backend;
    struct backend_opts opts;    /* path: the image's */
    struct image_file image;     /* owned */
    struct engine *engine;       /* owned */
    unsigned inflight;           /* operations that the engine has */
    struct file_io_list pending; /* to be submitted, in order */
    struct file_io_list waiting; /* for a bounce buffer, in order */
    struct bounce bounce;
    struct merge merge;
};

static struct file *file_of(struct backend *backend)
{
    return containerof(backend, struct file, backend);
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
    file_io_append(&file->pending, fio);
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
    fio->is_alone = false;
    if (!needs_bounce(file, io)) {
        file_io_append(&file->pending, fio);
        return;
    }
    fio->buffer = bounce_get(&file->bounce);
    if (fio->buffer) {
        prepare_bounced(file, fio);
    } else {
        file_io_append(&file->waiting, fio);
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
    if (file->waiting.first) {
        next = file_io_take(&file->waiting);
        next->buffer = bounce_get(&file->bounce);
        prepare_bounced(file, next);
    }
}

static void finish(struct file *file, struct file_io *fio, int64_t result)
{
    release_buffer(file, fio);
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

static void complete_one(struct file *file, struct file_io *fio, int64_t result)
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
        file_io_append(&file->pending, fio);
    }
}

/*
 * All that was merged has moved, or it is not known whose fault it is that it has not: then
 * each goes again, alone, and gets a result of its own.
 */
static void complete_group(struct file *file, struct file_io *fio, int64_t result)
{
    bool is_done = result == (int64_t)fio->group_bytes;

    for (unsigned left = fio->group; left > 0; left--) {
        struct file_io *next = fio->next;

        if (is_done) {
            finish(file, fio, 0);
        } else {
            fio->is_alone = true;
            file_io_append(&file->pending, fio);
        }
        fio = next;
    }
}

static void complete(struct file *file, struct file_io *fio, int64_t result)
{
    file->inflight--;
    if (fio->group > 1) {
        complete_group(file, fio, result);
    } else {
        complete_one(file, fio, result);
    }
}

static unsigned fill_batch(struct file *file)
{
    unsigned room = file->engine->max_inflight - file->inflight;
    struct file_io *fio = file->pending.first;
    struct engine_op op;
    unsigned count = 0;

    merge_begin(&file->merge);
    while (fio && count < room) {
        fio = merge_gather(&file->merge, fio, &op);
        if (!file->engine->ops->add(file->engine, &op)) {
            break;
        }
        count++;
    }
    return count;
}

/* The engine has them; the members of each group stay linked. */
static void take_started(struct file *file, unsigned count, struct backend_submitted *submitted)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned group = file->pending.first->group;

        submitted->merged += group - 1;
        for (unsigned j = 0; j < group; j++) {
            file_io_take(&file->pending);
        }
    }
    file->inflight += count;
    submitted->operations += count;
}

/* The kernel refuses the operation that is first, for what one of its group has. */
static void refuse_first(struct file *file, int reason)
{
    struct file_io *fio = file->pending.first;

    if (fio->group == 1) {
        finish(file, file_io_take(&file->pending), reason);
        return;
    }
    for (unsigned left = fio->group; left > 0; left--) {
        fio->is_alone = true;
        fio = fio->next;
    }
}

/*
 * The engine takes a prefix of the batch and speaks of the first that it did not take.
 * -EAGAIN with something under way: the rest waits for completions.  Else the first is at
 * fault, and only that one fails.
 */
static struct backend_submitted file_submit(struct backend *backend)
{
    struct file *file = file_of(backend);
    struct backend_submitted submitted = {0};

    while (fill_batch(file) > 0) {
        int ret = file->engine->ops->submit(file->engine);

        submitted.calls++;
        if (ret >= 0) {
            take_started(file, (unsigned)ret, &submitted);
        } else if (ret == -EAGAIN && file->inflight > 0) {
            break;
        } else {
            refuse_first(file, ret);
        }
    }
    backend->must_look = file->engine->must_look;
    return submitted;
}

static unsigned file_reap(struct backend *backend)
{
    struct file *file = file_of(backend);
    struct engine_event events[ENGINE_EVENTS];
    unsigned total = 0;
    unsigned count;

    if (file->inflight == 0) {
        return 0;
    }
    do {
        count = file->engine->ops->reap(file->engine, events, ENGINE_EVENTS);
        for (unsigned i = 0; i < count; i++) {
            complete(file, events[i].data, events[i].result);
        }
        total += count;
    } while (count == ENGINE_EVENTS);
    backend->must_look = file->engine->must_look;
    return total;
}

static bool file_is_held_back(const struct backend *backend)
{
    return containerof(backend, struct file, backend)->pending.first != NULL;
}

static int file_fd(struct backend *backend)
{
    const struct file *file = file_of(backend);

    return file->engine->ops->fd(file->engine);
}

static void state_facts(struct file *file)
{
    file->backend.ops = &backend_file_ops;
    file->backend.size = file->image.size;
    file->backend.block_size = file->image.block_size;
    file->backend.logical_block = file->image.logical_block;
    file->backend.physical_block = file->image.physical_block;
    file->backend.opt_io = file->image.opt_io;
    file->backend.max_inflight = file->engine->max_inflight;
    file->backend.engine = file->engine->ops->name;
    file->backend.engine_reason = file->engine->reason;
    file->merge.is_off = file->engine->keeps_iov;
    file_io_list_init(&file->pending);
    file_io_list_init(&file->waiting);
}

static int open_engine(struct file *file, const struct backend_opts *opts, struct err *err)
{
    struct engine_opts engine_opts = {
        .path = file->image.path,
        .fd = file->image.fd,
        .is_direct = file->image.is_direct,
        .engine = opts->engine,
        .wanted = opts->max_inflight,
    };

    return engine_open(&file->engine, &engine_opts, err);
}

/* `lender` NULL: the image is opened. */
static int open_file(struct backend **out, const struct backend_opts *opts,
                     const struct image_file *lender, struct err *err)
{
    struct file *file = calloc(1, sizeof(*file));
    int ret;

    if (!file) {
        return err_set(err, -ENOMEM, "image %s", opts->path);
    }
    ret = bounce_init(&file->bounce);
    if (ret < 0) {
        err_set(err, ret, "image %s: bounce buffers", opts->path);
        goto free_file;
    }
    ret = merge_init(&file->merge);
    if (ret < 0) {
        err_set(err, ret, "image %s: room to merge requests", opts->path);
        goto fini_bounce;
    }
    ret =
        lender ? image_file_borrow(&file->image, lender) : image_file_open(&file->image, opts, err);
    if (ret < 0) {
        goto fini_merge;
    }
    ret = open_engine(file, opts, err);
    if (ret < 0) {
        goto close_image;
    }
    state_facts(file);
    file->opts = *opts;
    file->opts.path = file->image.path;
    *out = &file->backend;
    return 0;

close_image:
    image_file_abandon(&file->image);
fini_merge:
    merge_fini(&file->merge);
fini_bounce:
    bounce_fini(&file->bounce);
free_file:
    free(file);
    return ret;
}

static int file_open(struct backend **out, const struct backend_opts *opts, struct err *err)
{
    return open_file(out, opts, NULL, err);
}

/*
 * The same fd, and so the same locks; an engine and bounce buffers of its own.  A flush through
 * one covers what was written through all.
 */
static int file_share(struct backend **out, struct backend *backend, struct err *err)
{
    const struct file *file = file_of(backend);
    const struct backend_opts opts = file->opts;

    return open_file(out, &opts, &file->image, err);
}

static void file_close(struct backend *backend)
{
    struct file *file = file_of(backend);

    file->engine->ops->close(file->engine);
    image_file_close(&file->image);
    merge_fini(&file->merge);
    bounce_fini(&file->bounce);
    free(file);
}

const struct backend_ops backend_file_ops = {
    .name = "file",
    .open = file_open,
    .close = file_close,
    .share = file_share,
    .fd = file_fd,
    .queue = file_queue,
    .submit = file_submit,
    .reap = file_reap,
    .is_held_back = file_is_held_back,
};
