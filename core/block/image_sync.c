/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/names.h"

/*
 * Has write-back failed since the last time that this was asked?  All syncs of the image share
 * an open file description, and so the one time that the kernel tells it; another sync may have
 * been told in the place of the one that asks.  The witness is told as well, by itself: waiting
 * for a page far behind the end of any file waits for nothing, and reports what has failed.
 * Source: Linux, "fs/sync.c", ksys_sync_file_range; "mm/filemap.c", file_fdatawait_range.
 */
static int ask_witness(const struct image_sync *sync)
{
    const off_t nowhere = INT64_MAX - 4096;

    if (sync->witness_fd < 0 ||
        sync_file_range(sync->witness_fd, nowhere, 1, SYNC_FILE_RANGE_WAIT_BEFORE) == 0) {
        return 0;
    }
    return errno == ENOSYS || errno == EPERM ? 0 : -errno; /* seccomp: as without a witness */
}

/*
 * What a write that failed tells by itself, where the witness has found nothing: that the device
 * or the file system could not do it.  Bad memory or limits say nothing of what lies in the page
 * cache, nor does a lack of room or memory: had it come up in write-back, the witness would know.
 */
static bool is_write_loss(const struct image_sync *sync, int64_t result)
{
    switch (-result) {
    case EFAULT:
    case EFBIG:
    case EINVAL:
    case EOPNOTSUPP:
        return false;
    case EAGAIN:
    case EDQUOT:
    case EINTR:
    case ENOMEM:
    case ENOSPC:
        return sync->witness_fd < 0;
    default:
        return true;
    }
}

/* What the sync that ended with `result` has found out, -errno or 0.  Under the lock. */
static int find_loss(const struct image_sync *sync, enum io_op op, int64_t result)
{
    int code = ask_witness(sync);

    if (result < 0 && (op == IO_FLUSH || is_write_loss(sync, result))) {
        code = (int)result;
    }
    return code;
}

void image_loss_say(const struct image_loss *loss, char *text, size_t size)
{
    time_t time = (time_t)loss->time_s;
    char when[32] = "?";
    struct tm tm;

    if (gmtime_r(&time, &tm)) {
        (void)strftime(when, sizeof(when), "%FT%TZ", &tm);
    }
    (void)snprintf(
        text, size, "a %s failed at %s: %s; what was written since the last good flush may be lost",
        loss->op == IO_FLUSH ? "flush" : "write to stable storage", when, strerror(-loss->code));
}

static void tell_loss(const struct image_sync *sync, const struct image_loss *loss)
{
    char text[256];

    image_loss_say(loss, text, sizeof(text));
    log_error("image %s: %s, so all flushes fail until it is opened anew", sync->path, text);
}

/* The first one stays.  Returns whether this is it.  Under the lock. */
static bool keep_loss(struct image_sync *sync, const struct image_loss *loss)
{
    if (loss->code == 0 || sync->loss.code < 0) {
        return false;
    }
    sync->loss = *loss;
    atomic_store_explicit(&sync->code, loss->code, memory_order_relaxed);
    return true;
}

/*
 * Whoever finds an error notes it before it lets go of the lock.  So a sync that was a success,
 * and finds none here, was one: what had been written before it began, and could not be written
 * back, had failed by the time that it came back.  Without a witness (no /proc, no right to read)
 * one case is left: two syncs are under way at once, and the one that was told of the error has
 * not come back to us when the other one does.
 */
int64_t image_sync_end(struct image_sync *sync, enum io_op op, int64_t result)
{
    struct image_loss loss = {.op = op, .time_s = time(NULL)};
    bool is_first;

    pthread_mutex_lock(&sync->lock);
    loss.code = find_loss(sync, op, result);
    is_first = keep_loss(sync, &loss);
    loss.code = sync->loss.code;
    pthread_mutex_unlock(&sync->lock);
    if (is_first) {
        tell_loss(sync, &loss);
    }
    return result < 0 ? result : loss.code < 0 ? loss.code : result;
}

void image_sync_inherit(struct image_sync *sync, const struct image_loss *loss)
{
    bool is_first;

    pthread_mutex_lock(&sync->lock);
    is_first = keep_loss(sync, loss);
    pthread_mutex_unlock(&sync->lock);
    if (is_first) {
        tell_loss(sync, loss);
    }
}

bool image_sync_is_redone(struct image_sync *sync, enum io_op op)
{
    return op == IO_WRITE && sync->witness_fd >= 0 && image_sync_end(sync, op, 0) == 0;
}

struct image_loss image_sync_loss(struct image_sync *sync)
{
    struct image_loss loss;

    pthread_mutex_lock(&sync->lock);
    loss = sync->loss;
    pthread_mutex_unlock(&sync->lock);
    return loss;
}

static int open_witness(int fd)
{
    return names_reopen(fd, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

int image_sync_open(struct image_sync **out, int fd, const char *path)
{
    struct image_sync *sync = calloc(1, sizeof(*sync));

    if (!sync) {
        return -ENOMEM;
    }
    sync->path = strdup(path);
    if (!sync->path) {
        free(sync);
        return -ENOMEM;
    }
    pthread_mutex_init(&sync->lock, NULL);
    sync->witness_fd = open_witness(fd);
    *out = sync;
    return 0;
}

void image_sync_use_witness(struct image_sync *sync, int fd)
{
    if (sync->witness_fd >= 0) {
        close(sync->witness_fd);
    }
    sync->witness_fd = fd;
}

void image_sync_close(struct image_sync *sync)
{
    if (sync->witness_fd >= 0) {
        close(sync->witness_fd);
    }
    pthread_mutex_destroy(&sync->lock);
    free(sync->path);
    free(sync);
}
