/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Where a disk's socket is: what vblkd says of a name, or the path itself, of which no more
 * is known.
 */

#include <limits.h>

#include "core/base/err.h"

struct lookup {
    char socket[108];
    unsigned queue_size; /* the largest ring that it takes, 0: not known */
    bool keeps_nothing;  /* as far as is known */
};

/* `control` NULL: vblkd's default.  Returns -errno with a sentence. */
int lookup_disk(struct lookup *found, const char *name, const char *control, struct err *err);
