/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A filter that makes what goes through it late, or fail, by rules: for tests of what is above it,
 * and for null images that are to fail.
 */

#include "core/block/node.h"

/* For the operations that it names; the first rule that suits one has it. */
struct fault_rule {
    unsigned ops;      /* of enum io_op: 1 << IO_READ ... */
    uint64_t offset;   /* bytes; of reads and writes those that touch the range */
    uint64_t length;   /* bytes, 0: whatever they touch */
    uint64_t delay_ns; /* before it is ended, or goes on */
    int error;         /* -errno that it ends with, 0: it goes on */
    unsigned every;    /* of those that it suits the first, and each so many later; 0: all */
};

#define FAULT_RULES 8u

struct fault_opts {
    const struct fault_rule *rules; /* lent until it is open */
    unsigned count;                 /* FAULT_RULES at most */
};

/* Its options are struct fault_opts. */
extern const struct node_ops node_fault_ops;
