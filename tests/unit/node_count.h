/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdatomic.h>

#include "core/block/node.h"

/* Counts the bytes that go through it: the example of vblkd-images(7). */
struct node_count {
    struct node node;
    _Atomic uint64_t bytes; /* of paths that are closed */
};

extern const struct node_ops node_count_ops;
