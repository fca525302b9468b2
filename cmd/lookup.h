/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Where a disk's socket is: what vblkd says of a name, or the path itself.
 */

#include <limits.h>

#include "core/err.h"

struct lookup {
    char socket[108];
    uint16_t queue_size; /* the largest ring that it takes */
};

/* `control` NULL: vblkd's default.  Returns -errno with a sentence. */
int lookup_disk(struct lookup *found, const char *name, const char *control, struct err *err);
