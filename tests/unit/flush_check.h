/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Whether the log of an image (io_log.h), with what a test's guest asked for and was answered,
 * keeps what a driver is promised (VIRTIO 1.2, 5.2.6.2 "Device Requirements: Device Operation"):
 *
 * a write or zeroing that was answered well was done by the image meanwhile, all of it;
 * a flush that was answered well covers all that had been answered before it was asked for: a flush
 * of the image has ended by then, well, which began after each of those had ended on the image;
 * what was asked for with IO_FUA was stable like that, or by itself, when it was answered.
 */

#include "core/block/io_log.h"

#define FLUSH_CHECK_BYTES (1u << 20) /* all requests lie in the first so many */

struct flush_check {
    unsigned writes; /* that the guest had well answered, zeroes included */
    unsigned flushes;
    unsigned image_writes;
    unsigned image_flushes;
    unsigned merged;   /* writes of the image that did more than one of the guest's */
    unsigned overtook; /* flushes of the guest that were asked for while writes were in flight */
    char fault[256];   /* "": there is none */
};

/* Returns whether it holds; else `fault` says what does not. */
bool flush_check_run(struct flush_check *check, const char *path);
