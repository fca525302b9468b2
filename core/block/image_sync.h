/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is known of an open image's way from the host's page cache to stable storage; one for
 * all lanes of the image.
 *
 * Write-back that fails is told once: the kernel marks the pages clean, gives the error to one
 * sync of an open file description, and answers the next one with success, though the bytes are
 * lost.  So the first error stays with the image until it is opened anew, and all syncs since
 * then (flushes, and writes that have to be stable) fail, as QEMU has it.
 *
 * With O_DIRECT nothing of ours is in the page cache: what was answered is with the device, which
 * keeps it when a flush fails, and flushes it again the next time.  Such images have none of this,
 * but for one that takes the place of an image that has lost something.
 *
 * `code` is written under the lock and read without (relaxed, by image_sync_code): who reads it too
 * early asks the kernel, and is told when the sync comes back.
 * Sources: "Linux Filesystems API", "The errseq_t datatype"; QEMU, block/file-posix.c,
 * page_cache_inconsistent.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "core/block/image_loss.h"

struct image_sync {
    pthread_mutex_t lock;
    char *path;             /* owned */
    int witness_fd;         /* owned, -1: none; a file description of its own, which nobody syncs */
    _Atomic int code;       /* of the first sync that failed, -errno; 0: none has */
    struct image_loss loss; /* the same at length; under the lock */
};

/* `fd` is the image's, open for writing.  Returns 0 or -ENOMEM. */
int image_sync_open(struct image_sync **out, int fd, const char *path);
void image_sync_close(struct image_sync *sync);

/* Another one instead of its own, which is taken over: it knows what has failed since it was
 * opened. Before any sync. */
void image_sync_use_witness(struct image_sync *sync, int fd);

/*
 * What a flush has to be answered without being begun; 0: ask the kernel.  Also what a success has
 * to be turned into, if it had come back when this thread called image_sync_end for another.
 * Thread: any.
 */
static inline int image_sync_code(const struct image_sync *sync)
{
    return atomic_load_explicit(&sync->code, memory_order_relaxed);
}

/*
 * A sync has come back from the kernel with `result`.  Returns what it has to be answered with:
 * a success that cannot be relied on is turned into the image's error.  Thread: any.
 */
int64_t image_sync_end(struct image_sync *sync, enum io_op op, int64_t result);

/*
 * A sync failed for what is of the moment.  Can it be done again, as if it had not been?  A flush
 * cannot, and a write only where a witness has found that nothing is lost.  Thread: any.
 */
bool image_sync_is_redone(struct image_sync *sync, enum io_op op);

/* What another image had lost, in whose place this one is now, it has as well.  Thread: any. */
void image_sync_inherit(struct image_sync *sync, const struct image_loss *loss);

/* Thread: any. */
struct image_loss image_sync_loss(struct image_sync *sync);

/*
 * "a flush failed at 2026-11-20T14:05:11Z: Input/output error; what was written since the last
 * good one may be lost".  Thread: any.
 */
void image_loss_say(const struct image_loss *loss, char *text, size_t size);
