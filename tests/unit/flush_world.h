/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk whose guest, of four rings, writes, zeroes, discards and flushes at random; what it asks
 * for and is answered stands in one log with what the kernel is asked to do with the image, which
 * is a file.
 */

#include "core/block/image.h"
#include "core/block/node_fault.h"
#include "core/device/device.h"
#include "tests/unit/flush_check.h"
#include "tests/unit/image_world.h"

#define FLUSH_WORLD_RINGS 4u
#define FLUSH_WORLD_FAULTS 2u

/* What a disk is like. */
struct flush_variant {
    enum io_engine engine;
    enum cache_mode cache;
    unsigned lanes;
    bool emulates;                  /* sectors of 512 bytes on blocks of 4096 */
    const struct fault_rule *fault; /* FLUSH_WORLD_FAULTS of them, over the file; NULL: none */
    enum error_action on_write_error;
};

/*
 * One load.  `with_changes`: of cache, threads and image, while it goes on.  Adds to `sum`; returns
 * whether what is promised was kept, and else says so there.
 */
bool flush_world_try(struct image_world *files, const struct flush_variant *variant,
                     bool with_changes, uint64_t seed, struct flush_check *sum);
