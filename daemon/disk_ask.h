/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is asked of a disk's thread, and for how long.
 * All return 0 and call `done` later, or refuse with -errno in `err` and never call it.
 * Thread: control.
 */

#include "daemon/registry.h"

/* `look`: for what has become of the image's file, too. */
int disk_info(struct disk *disk, bool look, void (*done)(struct op *op), void *arg,
              struct err *err);

/* The same, for somebody who decides by it, and has more patience. */
int disk_examine(struct disk *disk, void (*done)(struct op *op), void *arg, struct err *err);

int disk_start(struct disk *disk, bool new_image, void (*done)(struct op *op), void *arg,
               struct err *err);
int disk_stop(struct disk *disk, bool force, uint32_t timeout_ms, void (*done)(struct op *op),
              void *arg, struct err *err);
int disk_set(struct disk *disk, const struct settings *change, void (*done)(struct op *op),
             void *arg, struct err *err);
/* `ask` is taken over, see disk_medium.h; NULL: there is none, and `err` says why. */
int disk_change_medium(struct disk *disk, struct medium_ask *ask, bool force, uint32_t timeout_ms,
                       void (*done)(struct op *op), void *arg, struct err *err);

/* `size` in bytes, 0: what the image has. */
int disk_resize(struct disk *disk, uint64_t size, bool shrink, uint32_t timeout_ms,
                void (*done)(struct op *op), void *arg, struct err *err);
int disk_remove(struct disk *disk, bool force, uint32_t timeout_ms, void (*done)(struct op *op),
                void *arg, struct err *err);

/* Remove a disk that is not opened in time, as if it had never been asked for. */
int disk_take_back(struct disk *disk, struct err *err);

/* The daemon ends: a disk that is being added need not come to be. */
void disk_hurry(struct disk *disk);

/* The daemon ends, and the disk with it. */
int disk_ask_exit(struct disk *disk, void (*done)(struct op *op), struct err *err);
