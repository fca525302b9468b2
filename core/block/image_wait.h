/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Patience with whoever has an image locked: a moment with everybody, and for as long as it takes
 * with a process that was killed and has not ended, as it waits for I/O that it has under way.
 * Thread: the opening's.
 */

#include "core/base/holder.h"
#include "core/base/base.h"
#include "core/block/image_progress.h"

/* Begins with the first three, all else 0. */
struct image_wait {
    const char *image;               /* path */
    const char *owner;               /* the disk that waits, NULL: it has no name */
    struct image_progress *progress; /* is told for whom, and asked whether to go on; NULL: none */
    bool outlives; /* what is waited for is there when no process has it any more */
    unsigned tries;
    unsigned looks;
    unsigned misses;
    uint64_t begun_ns; /* 0: nobody was told of it */
    bool is_seen;      /* -EBUSY: it is `holder` */
    struct holder holder;
};

/*
 * The bytes of the file `fd` are locked by another.  Returns 0 after a moment: try again; -EBUSY:
 * who has them lives, or is not seen; -ECANCELED: nobody wants the image any more.
 */
int image_wait_again(struct image_wait *wait, int fd, const struct lock_span *span);

/* Nobody waits any more; `is_over`: as there is no need to. */
void image_wait_end(struct image_wait *wait, bool is_over);

/* Returns false when nobody is waited for; any thread. */
bool image_wait_text(struct image_progress *progress, char text[IMAGE_WAIT_BYTES]);
