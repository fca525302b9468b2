/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk on its way from one process to the next: what is not in its record.  The old process fills
 * it while the disk is frozen (plane_freeze.h), and lends the descriptors; in the new one they are
 * ours until they are taken over.
 * Thread: the disk's, and control's while the disk is frozen, or not started.
 */

#include "core/block/image_given.h"
#include "daemon/plane.h"
#include "transports/vhost_user_given.h"

struct plane_given {
    char name[DISK_NAME_BYTES];
    enum plane_state state;
    char reason[512];         /* why it failed, "": it did not */
    bool is_transient;        /* it is in no state file */
    bool retries;             /* it failed, and is tried again */
    struct image_given image; /* fd -1: it is not open, or has no file */
    struct vu_given vu;
    struct stats stats;
    bool is_ready;      /* the new process: it lacks the last word only */
    uint64_t paused_ns; /* since when; the monotonic clock is one for all processes */
    struct err err;     /* the new process: why it could not be taken over, code 0: it was */
};

void plane_given_init(struct plane_given *given);

/* `ours`: close what nobody took over. */
void plane_given_fini(struct plane_given *given, bool ours);

/* ---- the new process ---- */

/* The image that came with the disk and was not opened yet; NULL: none. */
static inline struct image_given *plane_given_image(const struct plane *plane)
{
    struct plane_given *given = plane->opts.given;

    return given && given->image.fd >= 0 ? &given->image : NULL;
}
