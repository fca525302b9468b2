/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * All that a disk shows its guest, as text that goes from one host to another: so that a guest that
 * is migrated finds the same disk there, or the disk is not added.
 * Plain values.  Thread: control.
 */

#include <jansson.h>

#include "core/base/err.h"
#include "core/base/param.h"

struct blk_shown;
struct disk_config;
struct plane_geometry;

/* struct blk_shown as numbers of a table; of 0 where nothing was shown yet. */
struct disk_shown {
    int64_t features;
    int64_t size_max;
    int64_t seg_max;
    int64_t max_discard_sectors;
    int64_t max_discard_seg;
    int64_t max_write_zeroes_sectors;
    int64_t max_write_zeroes_seg;
};

/* Rows into it. */
extern const struct param disk_shown_params[];

struct blk_shown disk_shown_to_blk(const struct disk_shown *shown);
struct disk_shown disk_shown_of(const struct blk_shown *blk);

/* All of it: the object that `config->as_shown` is the text of.  NULL without memory. */
json_t *disk_pin_json(const struct plane_geometry *geometry, unsigned queues);

/*
 * Is config->as_shown such a text, and does nothing else say what it says?  Takes the number of
 * queues from it where none was asked for.  Returns 0, or -EINVAL or -ENOMEM.
 */
int disk_pin_complete(struct disk_config *config, struct err *err);

/* After that: what it says, but for the size, which is the image's.  Returns false when there is
 * none. */
bool disk_pin_geometry(const struct disk_config *config, struct plane_geometry *geometry);
