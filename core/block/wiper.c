/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/wiper.h"

#include <errno.h>
#include <unistd.h>

#include "core/base/cpus.h"
#include "core/base/thread.h"
#include "core/block/context.h"
#include "core/block/file_io.h"
#include "core/block/image_file.h"
#include "core/block/io_log.h"

/* All of `from` goes behind `to`. */
static void move_list(struct io_list *to, struct io_list *from)
{
    if (from->first) {
        *to->last = from->first;
        to->last = from->last;
        io_list_init(from);
    }
}

/* ---- the helper ---- */

static void sync_wiped(struct wiper *wiper, struct io *io)
{
    const struct image_file *image = wiper->wipe.image;
    uint64_t id = io_log_begin(image->log, (struct io_record){.op = IO_FLUSH}, NULL, 0);

    file_io_of(io)->has_synced = true;
    io->result = fdatasync(image->fd) < 0 ? -errno : 0;
    io_log_end(image->log, id, io->result);
}

/* Has somebody waited for long enough for this discard, and others, to end?  It is a hint. */
static bool is_left_off(const struct wiper *wiper, const struct io *io)
{
    uint64_t hurry_ns = io->op == IO_DISCARD
                            ? atomic_load_explicit(&wiper->context->hurry_ns, memory_order_relaxed)
                            : 0;

    return hurry_ns && now_ns() >= hurry_ns;
}

/* Do a piece.  Returns whether it is over: io->result is set. */
static bool wipe_some(struct wiper *wiper, struct io *io, uint64_t *freed)
{
    struct file_io *fio = file_io_of(io);
    int64_t ret;

    if (is_left_off(wiper, io)) {
        io->result = 0;
        return true;
    }
    ret = wipe_piece(&wiper->wipe, io, wiper->wipe.image->range.offset + io->offset + fio->done,
                     io->length - fio->done, freed);
    if (ret < 0) {
        io->result = ret;
        return true;
    }
    fio->done += (uint64_t)ret;
    if (fio->done < io->length) {
        return false;
    }
    io->result = 0;
    if (io->flags & IO_FUA) {
        sync_wiped(wiper, io);
    }
    return true;
}

/* Returns NULL when it is time to end.  Under the lock. */
static struct io *wait_for_io(struct wiper *wiper)
{
    while (!wiper->waiting.first && !wiper->is_ending) {
        pthread_cond_wait(&wiper->has_work, &wiper->lock);
    }
    return wiper->waiting.first ? io_list_take(&wiper->waiting) : NULL;
}

/* Under the lock.  Returns whether the lane has to be woken: it looks at all that there is. */
static bool put_result(struct wiper *wiper, struct io *io)
{
    bool is_first = !wiper->results.first;

    io_list_append(&wiper->results, io);
    atomic_store_explicit(&wiper->has_results, true, memory_order_relaxed);
    return is_first;
}

static void wake_lane(const struct wiper *wiper)
{
    const uint64_t one = 1;
    ssize_t ret = write(wiper->event_fd, &one, sizeof(one));

    (void)ret; /* full: then it is readable */
}

static void *wipe_all(void *arg)
{
    struct wiper *wiper = arg;
    struct io *io;

    pthread_mutex_lock(&wiper->lock);
    while ((io = wait_for_io(wiper))) {
        bool is_over, must_wake = false;
        uint64_t freed = 0;

        pthread_mutex_unlock(&wiper->lock);
        is_over = wipe_some(wiper, io, &freed);
        pthread_mutex_lock(&wiper->lock);
        wiper->freed += freed;
        if (is_over) {
            must_wake = put_result(wiper, io);
        } else {
            io_list_append(&wiper->waiting, io);
        }
        if (must_wake) {
            pthread_mutex_unlock(&wiper->lock);
            wake_lane(wiper);
            pthread_mutex_lock(&wiper->lock);
        }
    }
    pthread_mutex_unlock(&wiper->lock);
    return NULL;
}

/* ---- the path's thread ---- */

void wiper_start(struct wiper *wiper, struct io *io)
{
    file_io_of(io)->has_synced = false;
    io_list_append(&wiper->pending, io);
}

/* It goes again in a moment, or has had 30 seconds of them. */
static void put_off(struct wiper *wiper, struct io *io, int64_t code)
{
    if (!retry_is_momentary(code) || !retry_keep(&wiper->retry, io, code)) {
        io->result = code;
        io_list_append(&wiper->taken, io);
    }
}

/* Returns false when there is none, and what is pending has been put off. */
static bool has_helper(struct wiper *wiper)
{
    int ret = wiper->has_thread ? 0 : thread_start(&wiper->thread, wipe_all, wiper);

    wiper->has_thread |= ret == 0;
    while (ret < 0 && wiper->pending.first) {
        put_off(wiper, io_list_take(&wiper->pending), ret);
    }
    return ret == 0;
}

void wiper_use_cpus(const struct wiper *wiper, const struct cpus *cpus)
{
    if (wiper->has_thread) {
        (void)cpus_use_for(cpus, wiper->thread); /* as its lane's, which was told */
    }
}

void wiper_submit(struct wiper *wiper)
{
    retry_release(&wiper->retry, &wiper->pending);
    if (!wiper->pending.first || !has_helper(wiper)) {
        return;
    }
    for (const struct io *io = wiper->pending.first; io; io = io->next) {
        wiper->inflight++;
    }
    pthread_mutex_lock(&wiper->lock);
    move_list(&wiper->waiting, &wiper->pending);
    pthread_cond_signal(&wiper->has_work);
    pthread_mutex_unlock(&wiper->lock);
}

static void take_results(struct wiper *wiper, uint64_t *freed)
{
    struct io_list results;

    io_list_init(&results);
    pthread_mutex_lock(&wiper->lock);
    move_list(&results, &wiper->results);
    *freed += wiper->freed;
    wiper->freed = 0;
    atomic_store_explicit(&wiper->has_results, false, memory_order_relaxed);
    pthread_mutex_unlock(&wiper->lock);
    while (results.first) {
        struct io *io = io_list_take(&results);

        wiper->inflight--;
        if (io->result < 0 && !file_io_of(io)->has_synced) {
            put_off(wiper, io, io->result);
        } else {
            io_list_append(&wiper->taken, io);
        }
    }
}

struct io *wiper_reap(struct wiper *wiper, uint64_t *freed)
{
    if (atomic_load_explicit(&wiper->has_results, memory_order_relaxed)) {
        take_results(wiper, freed);
    }
    return wiper->taken.first ? io_list_take(&wiper->taken) : NULL;
}

void wiper_init(struct wiper *wiper, const struct image_file *image, const struct context *context,
                int event_fd)
{
    wiper->context = context;
    wiper->wipe = (struct wipe){.image = image};
    wiper->event_fd = event_fd;
    wiper->has_thread = false;
    wiper->inflight = 0;
    wiper->freed = 0;
    wiper->is_ending = false;
    atomic_init(&wiper->has_results, false);
    retry_init(&wiper->retry, image->path);
    io_list_init(&wiper->pending);
    io_list_init(&wiper->taken);
    io_list_init(&wiper->waiting);
    io_list_init(&wiper->results);
    pthread_mutex_init(&wiper->lock, NULL);
    pthread_cond_init(&wiper->has_work, NULL);
}

void wiper_fini(struct wiper *wiper)
{
    pthread_mutex_lock(&wiper->lock);
    wiper->is_ending = true;
    pthread_cond_signal(&wiper->has_work);
    pthread_mutex_unlock(&wiper->lock);
    if (wiper->has_thread) {
        pthread_join(wiper->thread, NULL);
    }
    pthread_cond_destroy(&wiper->has_work);
    pthread_mutex_destroy(&wiper->lock);
}
