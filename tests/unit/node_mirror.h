/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A filter over two nodes that have the same bytes, as a mirror is while it follows its disk.  What
 * is written goes to both, and is read from the one and the other in turn.
 * What touches the same place waits for its turn, so both have the same in the end.
 */

#include "core/block/range.h"

struct node_mirror {
    struct node node;
    struct ranges ranges;
};

/* It has no options. */
extern const struct node_ops node_mirror_ops;
