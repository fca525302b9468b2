/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The first sync of an open image that failed: what was answered since the one before it may be
 * lost, and all syncs fail from then on.  Plain values.
 */

#include "core/block/io.h"

struct image_loss {
    int code;       /* -errno, 0: none has failed */
    enum io_op op;  /* IO_FLUSH, or IO_WRITE that had to be stable */
    int64_t time_s; /* CLOCK_REALTIME */
};
