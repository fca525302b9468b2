/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk that accepts all and stores nothing: reads leave the guest's buffer as it is.
 */

#include "core/block/node.h"

struct node_null {
    struct node node;
    uint64_t delay_ns; /* how long each request takes */
    unsigned max_inflight;
};

/* Its options are struct image_opts. */
extern const struct node_ops node_null_ops;
