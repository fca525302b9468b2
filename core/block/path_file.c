/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What was started in a loop turn is handed to the engine at its end; this file knows requests, the
 * engine knows the kernel.
 *
 * Guest memory goes to the kernel as it is.  With O_DIRECT, buffers that the file system
 * would refuse go through the bounce pool, a piece at a time.
 */

#include "core/block/path_file.h"

#include <errno.h>

#include "core/base/iov.h"
#include "core/block/engine_log.h"
#include "core/block/file_io.h"
#include "core/block/image_sync.h"

static struct path_file *file_of(struct path *path)
{
    return containerof(path, struct path_file, path);
}

static const struct path_file *const_of(const struct path *path)
{
    return containerof(path, struct path_file, path);
}

static void prepare_bounced(struct path_file *file, struct io *io)
{
    file_io_fill_buffer(io);
    io_list_append(&file->pending, io);
}

static bool is_wipe(const struct io *io)
{
    return io->op == IO_DISCARD || io->op == IO_ZERO;
}

static bool needs_bounce(const struct path_file *file, const struct io *io)
{
    return file->image->is_direct && io->op != IO_FLUSH &&
           !iov_is_aligned(io->iov, io->iov_count, file->image->shape.mem_align,
                           file->image->shape.block_size);
}

/* What it has to be answered with, unasked: one of the image's flushes has failed, say.  0: ask. */
static int refusal_of(const struct path_file *file, const struct io *io)
{
    const struct image_sync *sync = file->image->sync;

    return sync && io->op == IO_FLUSH ? image_sync_code(sync) : 0;
}

void path_file_start(struct path *path, struct io *io)
{
    struct path_file *file = file_of(path);
    struct file_io *fio = file_io_of(io);

    fio->buffer = NULL;
    fio->place = (struct iov_place){0};
    fio->done = 0;
    fio->is_alone = false;
    fio->tries = 0;
    if (refusal_of(file, io) < 0) {
        io_list_append(&file->refused, io);
        return;
    }
    if (is_wipe(io)) {
        wiper_start(&file->wiper, io);
        return;
    }
    if (!needs_bounce(file, io)) {
        io_list_append(&file->pending, io);
        return;
    }
    fio->buffer = bounce_get(&file->bounce);
    if (fio->buffer) {
        prepare_bounced(file, io);
    } else {
        io_list_append(&file->waiting, io);
    }
}

/* Its buffer goes to the one that has waited for longest. */
static void release_buffer(struct path_file *file, struct file_io *fio)
{
    struct io *next;

    if (!fio->buffer) {
        return;
    }
    bounce_put(&file->bounce, fio->buffer);
    if (file->waiting.first) {
        next = io_list_take(&file->waiting);
        file_io_of(next)->buffer = bounce_get(&file->bounce);
        prepare_bounced(file, next);
    }
}

static void finish_io(struct path_file *file, struct io *io, int64_t result)
{
    release_buffer(file, file_io_of(io));
    io_end(io, result);
}

/*
 * A transfer has moved nothing: a read at the end of a file that is shorter than the disk, or
 * a write with no room.  Zeroes in place of lost data would be a lie, so both are errors.
 */
static int64_t nothing_moved(const struct io *io)
{
    return io->op == IO_READ ? -ENODATA : -ENOSPC;
}

static void complete_one(struct path_file *file, struct io *io, int64_t result)
{
    if (result < 0 || (result == (int64_t)io->length && !file_io_of(io)->buffer)) {
        finish_io(file, io, result < 0 ? result : 0); /* all at once, as mostly; or a flush */
    } else if (result == 0 || file_io_is_short_write(io, (size_t)result)) {
        finish_io(file, io, nothing_moved(io));
    } else if (!file_io_move_on(io, (size_t)result)) {
        finish_io(file, io, 0);
    } else if (file_io_of(io)->buffer) {
        prepare_bounced(file, io);
    } else {
        io_list_append(&file->pending, io);
    }
}

/*
 * All that was merged has moved, or it is not known whose fault it is that it has not: then
 * each goes again, alone, and gets a result of its own.
 */
static void complete_group(struct path_file *file, struct io *io, int64_t result)
{
    const struct file_io *first = file_io_of(io);
    bool is_done = result == (int64_t)first->group_bytes;

    for (unsigned left = first->group; left > 0; left--) {
        struct io *next = io->next;

        if (is_done) {
            finish_io(file, io, 0);
        } else {
            file_io_of(io)->is_alone = true;
            io_list_append(&file->pending, io);
        }
        io = next;
    }
}

static bool is_sync(const struct io *io)
{
    return io->op == IO_FLUSH || (io->op == IO_WRITE && (io->flags & IO_FUA));
}

/*
 * What had to be on stable storage is answered as the image's other syncs allow; to ask that costs
 * a system call, which is for all results that came together.
 */
static int64_t check_sync(struct path_file *file, const struct io *io, int64_t result)
{
    struct image_sync *sync = file->image->sync;

    if (!sync || !is_sync(io)) {
        return result;
    }
    if (file->has_asked && result >= 0) {
        int code = image_sync_code(sync);

        return code < 0 ? code : result;
    }
    file->has_asked = true;
    return image_sync_end(sync, io->op, result);
}

/*
 * The kernel had no memory or no room to do it, and did nothing: it goes again, alone, as a group
 * that failed does.  But a flush of the page cache may have been told of a loss, once, and have
 * lost that for its own want of memory: its error stands.
 */
static bool goes_again(struct path_file *file, struct io *io, int64_t result)
{
    struct image_sync *sync = is_sync(io) ? file->image->sync : NULL;

    return retry_is_momentary(result) && (!sync || image_sync_is_redone(sync, io->op)) &&
           retry_keep(&file->retry, io, result);
}

static void complete_op(struct path_file *file, struct io *io, int64_t result)
{
    bool is_alone = file_io_of(io)->group == 1;

    file->inflight--;
    huge_bounce_end(&file->huge, io, result);
    if (is_alone && goes_again(file, io, result)) {
        return;
    }
    result = check_sync(file, io, result);
    if (is_alone) {
        complete_one(file, io, result);
    } else {
        complete_group(file, io, result);
    }
}

static struct io *last_of_group(struct io *io)
{
    for (unsigned left = file_io_of(io)->group; left > 1; left--) {
        io = io->next;
    }
    return io;
}

/* What waits for slots is out of the way of what is behind it. */
static unsigned fill_batch(struct path_file *file)
{
    unsigned room = file->engine->max_inflight - file->inflight;
    struct io **at = &file->pending.first;
    struct engine_op op;
    unsigned count = 0;

    merge_begin(&file->merge);
    huge_bounce_batch(&file->huge, &file->pending);
    while (*at && count < room) {
        struct io *first = *at;

        (void)merge_gather(&file->merge, first, &op);
        op.offset += file->image->range.offset;
        if (file->image->is_direct && !huge_bounce_prepare(&file->huge, first, &op)) {
            huge_bounce_wait(&file->huge, &file->pending, at);
            continue;
        }
        if (!file->engine->ops->add(file->engine, &op)) {
            huge_bounce_undo(&file->huge, first);
            break;
        }
        at = &last_of_group(first)->next;
        count++;
    }
    return count;
}

/* The engine has them; the members of each group stay linked. */
static void take_started(struct path_file *file, unsigned count, struct submitted *submitted)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned group = file_io_of(file->pending.first)->group;

        huge_bounce_begin(&file->huge, file->pending.first);
        submitted->merged += group - 1;
        submitted->bounced += file_io_of(file->pending.first)->is_huge;
        for (unsigned j = 0; j < group; j++) {
            io_list_take(&file->pending);
        }
    }
    file->inflight += count;
    submitted->operations += count;
}

/* The engine has forgotten so many of the batch: they are gathered anew, maybe otherwise. */
static void forget_prepared(struct path_file *file, unsigned count)
{
    struct io *io = file->pending.first;

    for (; count > 0; count--) {
        unsigned group = file_io_of(io)->group;

        huge_bounce_undo(&file->huge, io);
        for (; group > 0; group--) {
            io = io->next;
        }
    }
}

/* The kernel refuses the operation that is first, for what one of its group has. */
static void refuse_first(struct path_file *file, int reason)
{
    struct io *io = file->pending.first;
    unsigned group = file_io_of(io)->group;

    if (group == 1) {
        finish_io(file, io_list_take(&file->pending), reason);
        return;
    }
    for (unsigned left = group; left > 0; left--) {
        file_io_of(io)->is_alone = true;
        io = io->next;
    }
}

static void end_refused(struct path_file *file)
{
    while (file->refused.first) {
        struct io *io = io_list_take(&file->refused);

        finish_io(file, io, refusal_of(file, io));
    }
}

static void state_needs(struct path_file *file)
{
    file->path.must_look =
        file->engine->must_look || retry_is_waiting(&file->retry) || wiper_must_look(&file->wiper);
    file->path.keeps_memory = file->huge.holds_memory;
}

/*
 * The engine takes a prefix of the batch and speaks of the first that it did not take.  If it is
 * not the moment that is wrong, that first one is at fault, and only that one fails.
 */
static struct submitted path_file_submit(struct path *path)
{
    struct path_file *file = file_of(path);
    struct submitted submitted = {0};
    unsigned count;

    end_refused(file);
    wiper_submit(&file->wiper);
    retry_release(&file->retry, &file->pending);
    while ((count = fill_batch(file)) > 0) {
        int ret = file->engine->ops->submit(file->engine);

        submitted.calls++;
        if (ret >= 0) {
            take_started(file, (unsigned)ret, &submitted);
            count -= (unsigned)ret;
        }
        forget_prepared(file, count);
        if (ret >= 0) {
            retry_end(&file->retry);
        } else if (retry_is_momentary(ret) && retry_submit(&file->retry, ret, file->inflight > 0)) {
            break;
        } else {
            refuse_first(file, ret);
        }
    }
    if (!file->pending.first) {
        retry_end(&file->retry);
    }
    state_needs(file);
    return submitted;
}

/* A sync that fails after zeroes fails as a flush does. */
static int64_t result_of_wipe(const struct path_file *file, const struct io *io)
{
    struct image_sync *sync = file->image->sync;

    return sync && file_io_of(io)->has_synced ? image_sync_end(sync, IO_FLUSH, io->result)
                                              : io->result;
}

static unsigned reap_wiped(struct path_file *file)
{
    uint64_t freed = 0;
    unsigned count = 0;
    struct io *io;

    while ((io = wiper_reap(&file->wiper, &freed))) {
        finish_io(file, io, result_of_wipe(file, io));
        count++;
    }
    if (file->path.context->freed) {
        *file->path.context->freed += freed;
    }
    state_needs(file);
    return count;
}

static unsigned path_file_reap(struct path *path)
{
    struct path_file *file = file_of(path);
    struct engine_event events[ENGINE_EVENTS];
    unsigned total = wiper_is_busy(&file->wiper) ? reap_wiped(file) : 0;
    unsigned count;

    if (file->inflight == 0) {
        return total;
    }
    do {
        count = file->engine->ops->reap(file->engine, events, ENGINE_EVENTS);
        file->has_asked = false;
        for (unsigned i = 0; i < count; i++) {
            complete_op(file, events[i].data, events[i].result);
        }
        total += count;
    } while (count == ENGINE_EVENTS);
    huge_bounce_reaped(&file->huge);
    state_needs(file);
    return total;
}

static bool path_file_is_held_back(const struct path *path)
{
    return const_of(path)->pending.first || const_of(path)->refused.first ||
           const_of(path)->wiper.pending.first || huge_bounce_is_waiting(&const_of(path)->huge);
}

static void path_file_rest(struct path *path)
{
    struct path_file *file = file_of(path);

    huge_bounce_rest(&file->huge);
    state_needs(file);
}

static int path_file_fd(const struct path *path)
{
    const struct engine *engine = const_of(path)->engine;

    return engine->ops->fd(engine);
}

static void init_path(struct path_file *file)
{
    const struct engine *engine = file->engine;

    file->path.facts.max_inflight = engine->max_inflight;
    file->path.facts.engine = engine->ops->name;
    file->path.facts.engine_reason = engine->reason;
    file->merge.is_off = engine->keeps_iov;
    retry_init(&file->retry, file->image->path);
    wiper_init(&file->wiper, file->image, file->path.context, engine->ops->fd(engine));
    io_list_init(&file->pending);
    io_list_init(&file->waiting);
    io_list_init(&file->refused);
}

int path_file_attach(struct path *path, const struct image_file *image,
                     const struct engine_opts *opts, struct err *err)
{
    struct path_file *file = file_of(path);
    int ret;

    file->image = image;
    ret = bounce_init(&file->bounce);
    if (ret < 0) {
        return err_set(err, ret, "image %s: bounce buffers", image->path);
    }
    ret = merge_init(&file->merge);
    if (ret < 0) {
        err_set(err, ret, "image %s: room to merge requests", image->path);
        goto fini_bounce;
    }
    ret = huge_bounce_init(&file->huge, path->context);
    if (ret < 0) {
        err_set(err, ret, "image %s: room for large requests", image->path);
        goto fini_merge;
    }
    ret = engine_log_open(&file->engine, opts, err);
    if (ret < 0) {
        goto fini_huge;
    }
    init_path(file);
    return 0;

fini_huge:
    huge_bounce_fini(&file->huge);
fini_merge:
    merge_fini(&file->merge);
fini_bounce:
    bounce_fini(&file->bounce);
    return ret;
}

void path_file_detach(struct path *path)
{
    struct path_file *file = file_of(path);

    wiper_fini(&file->wiper);
    file->engine->ops->close(file->engine);
    huge_bounce_fini(&file->huge);
    merge_fini(&file->merge);
    bounce_fini(&file->bounce);
}

static void path_file_use_cpus(struct path *path, const struct cpus *cpus)
{
    struct path_file *file = file_of(path);

    wiper_use_cpus(&file->wiper, cpus);
    if (file->engine->ops->use_cpus) {
        file->engine->ops->use_cpus(file->engine, cpus);
    }
}

const struct leaf_ops path_file_leaf_ops = {
    .fd = path_file_fd,
    .submit = path_file_submit,
    .reap = path_file_reap,
    .is_held_back = path_file_is_held_back,
    .rest = path_file_rest,
    .use_cpus = path_file_use_cpus,
};
