/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who has locked a file: the locks belong to an open file description, so the kernel names no
 * process, but tells of each of a process's files what locks it has.
 * Thread: any; takes as long as all files of all processes take to be looked at.
 */

#include <stdbool.h>
#include <stddef.h>

#include <sys/types.h>

#define IMAGE_HOLDER_BYTES 112

/* Bytes that are locked. */
struct image_lock_span {
    off_t first;
    off_t len; /* 0: any */
};

/*
 * "qemu-system-x86 (pid 123)" or "vda, a disk of this vblkd": who has locked any of these bytes of
 * the file that is open as `fd`, by another fd.  Returns false when none is seen: it is another
 * host's, or another user's process.
 */
bool image_holder_find(int fd, const struct image_lock_span *span, char text[IMAGE_HOLDER_BYTES]);
