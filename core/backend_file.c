/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A raw file or host block device, driven by Linux AIO: all that was queued in a loop turn
 * goes to the kernel by one io_submit, completions come through an eventfd.
 *
 * Guest memory goes into the iocb as it is.  With O_DIRECT, buffers that the file system
 * would refuse go through the bounce pool, a piece at a time.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/backend.h"
#include "core/bounce.h"
#include "core/image_file.h"
#include "core/iov.h"

#define BATCH 256
#define EVENTS 64

/* Fewer than this at once is no use: then no AIO context is to be had. */
#define MIN_INFLIGHT 16

struct file {
    struct backend backend;
    struct image_file image; /* owned */
    io_context_t aio;
    int event_fd;
    unsigned aio_inflight;
    unsigned finished;       /* operations, ever */
    struct file_io *pending; /* to be submitted, in order */
    struct file_io **pending_last;
    struct file_io *waiting; /* for a bounce buffer, in order */
    struct file_io **waiting_last;
    struct bounce bounce;
};

/* A request's private bytes. */
struct file_io {
    struct iocb iocb;
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

/*
 * Make the iocb for what is left of a read or write: all of it, or with a bounce buffer as
 * much as that holds.
 */
static void prepare_data(struct file *file, struct file_io *fio)
{
    struct io *io = fio->io;
    struct iovec *iov = io->iov;
    int count = (int)io->iov_count;
    off_t offset = (off_t)(io->offset + fio->done);

    if (fio->buffer) {
        fio->buffer_iov.iov_base = fio->buffer;
        fio->buffer_iov.iov_len = min_of(io->length - fio->done, (uint64_t)BOUNCE_BYTES);
        iov = &fio->buffer_iov;
        count = 1;
    }
    if (io->op == IO_READ) {
        io_prep_preadv(&fio->iocb, file->image.fd, iov, count, offset);
    } else {
        io_prep_pwritev2(&fio->iocb, file->image.fd, iov, count, offset,
                         io->is_fua ? RWF_DSYNC : 0);
    }
}

static void prepare(struct file *file, struct file_io *fio)
{
    if (fio->io->op == IO_FLUSH) {
        io_prep_fdsync(&fio->iocb, file->image.fd);
    } else {
        prepare_data(file, fio);
    }
    io_set_eventfd(&fio->iocb, file->event_fd);
    fio->iocb.data = fio;
    append(&file->pending_last, fio);
}

/* The next piece of a bounced write leaves the guest's memory now. */
static void prepare_bounced(struct file *file, struct file_io *fio)
{
    prepare(file, fio);
    if (fio->io->op == IO_WRITE) {
        iov_take(&fio->io->iov, &fio->io->iov_count, fio->buffer, fio->buffer_iov.iov_len);
    }
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

static void complete(struct file *file, const struct io_event *event)
{
    struct file_io *fio = event->data;
    long result = (long)event->res;

    file->aio_inflight--;
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

static unsigned fill_batch(struct file *file, struct iocb **batch)
{
    unsigned room = min_of((unsigned)BATCH, file->backend.max_inflight - file->aio_inflight);
    unsigned count = 0;

    for (struct file_io *fio = file->pending; fio && count < room; fio = fio->next) {
        batch[count++] = &fio->iocb;
    }
    return count;
}

/*
 * The kernel takes a prefix of the batch and speaks of the first that it did not take.
 * -EAGAIN with something under way: the rest waits for completions.  Else the first is at
 * fault, and only that one fails.
 */
static unsigned file_submit(struct backend *backend, unsigned *calls)
{
    struct file *file = file_of(backend);
    struct iocb *batch[BATCH];
    unsigned submitted = 0;
    unsigned count;

    *calls = 0;
    while ((count = fill_batch(file, batch)) > 0) {
        int ret = io_submit(file->aio, count, batch);

        (*calls)++;
        if (ret == -EAGAIN && file->aio_inflight > 0) {
            break;
        }
        if (ret <= 0) {
            finish(file, take_first(&file->pending, &file->pending_last), ret ? ret : -EIO);
            continue;
        }
        for (int i = 0; i < ret; i++) {
            take_first(&file->pending, &file->pending_last);
        }
        file->aio_inflight += (unsigned)ret;
        submitted += (unsigned)ret;
    }
    return submitted;
}

static unsigned file_reap(struct backend *backend)
{
    struct file *file = file_of(backend);
    struct timespec now = {0};
    struct io_event events[EVENTS];
    unsigned finished = file->finished;
    uint64_t signals;
    int count;

    if (read(file->event_fd, &signals, sizeof(signals)) < 0) {
        return 0; /* nothing since the last time */
    }
    do {
        count = io_getevents(file->aio, 0, EVENTS, events, &now);
        for (int i = 0; i < count; i++) {
            complete(file, &events[i]);
        }
    } while (count == EVENTS);
    return file->finished - finished;
}

static bool file_is_held_back(const struct backend *backend)
{
    return containerof(backend, struct file, backend)->pending != NULL;
}

static int file_fd(struct backend *backend)
{
    return file_of(backend)->event_fd;
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
static int setup_aio(struct file *file, unsigned wanted, struct err *err)
{
    unsigned count = wanted < MIN_INFLIGHT ? MIN_INFLIGHT : wanted;
    int ret;

    while ((ret = io_setup((int)count, &file->aio)) == -EAGAIN && count > MIN_INFLIGHT) {
        count /= 2;
    }
    if (ret < 0) {
        err_set(err, ret, "image %s: no AIO context for %u requests", file->image.path, count);
        if (ret == -EAGAIN) {
            err_hint(err, "all %ld of fs.aio-max-nr are taken (%ld): raise it with sysctl",
                     read_number("/proc/sys/fs/aio-max-nr"), read_number("/proc/sys/fs/aio-nr"));
        }
        return ret;
    }
    file->backend.max_inflight = count;
    return 0;
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
    file->backend.engine = "aio";
    file->backend.engine_reason =
        opts->engine == ENGINE_AIO ? "asked for" : "vblkd is built with no other";
    file->backend.size = file->image.size;
    file->backend.block_size = file->image.block_size;
    file->backend.logical_block = file->image.logical_block;
    file->backend.physical_block = file->image.physical_block;
    file->backend.opt_io = file->image.opt_io;
    file->pending_last = &file->pending;
    file->waiting_last = &file->waiting;
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
    file->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (file->event_fd < 0) {
        ret = err_set(err, -errno, "image %s: no eventfd", opts->path);
        goto close_image;
    }
    ret = setup_aio(file, opts->max_inflight, err);
    if (ret < 0) {
        goto close_event_fd;
    }
    state_facts(file, opts);
    *out = &file->backend;
    return 0;

close_event_fd:
    close(file->event_fd);
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

    io_destroy(file->aio);
    close(file->event_fd);
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
