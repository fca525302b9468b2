/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk as the state file keeps it: what was asked of it, and what its guest must see again.
 * Plain values.  Thread: control.
 */

#include "core/base/stats.h"
#include "daemon/disk_config.h"
#include "daemon/disk_opened.h"
#include "daemon/disk_pin.h"

struct disk_record {
    struct disk_config config; /* first: disk_params apply */
    bool is_stopped;
    bool is_writethrough; /* its driver has asked for it */
    int64_t size;         /* bytes; with the blocks, what the guest must see again */
    int64_t logical_block;
    int64_t physical_block;
    int64_t alignment;
    int64_t min_io; /* 0: of a version without it, too */
    int64_t opt_io;
    int64_t cylinders; /* this and the next two 0: of a version without them, too */
    int64_t heads;
    int64_t sectors;
    int64_t discard_block;   /* bytes; 0: of a version without it, too, as its guest has none */
    int64_t zeroes;          /* enum blk_zeroes */
    struct disk_shown shown; /* of a version without it, 0 */
    struct disk_opened opened;
    struct stats counters; /* as of the last end in order, see disk_counters.h */
};

/* How many files it has open when it is there, at least, and without a guest. */
uint64_t disk_record_files(const struct disk_record *record);

/* The geometry that its guest has found. */
struct blk_chs disk_record_chs(const struct disk_record *record);

/* The features and limits that its guest is shown.  Returns true when they are others than before.
 */
bool disk_record_keep_shown(struct disk_record *record, const struct blk_shown *shown);
