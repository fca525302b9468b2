/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which file or device a disk had open last, as the state file keeps it.  Numbers of devices, and
 * with them this, are good within one boot of the host.
 * Plain values.  Thread: control.
 */

#include <stdbool.h>

#include "core/block/image_id.h"

#define BOOT_ID_BYTES 40 /* the final NUL included */

/* As in struct image_id; JSON has signed integers, so numbers past 2^63 come out negative. */
struct disk_opened {
    char boot[BOOT_ID_BYTES]; /* "": not known, as in files of before */
    int64_t device;
    int64_t inode;
    int64_t born_ns;
};

/* This boot's name; "" when the kernel does not tell it. */
void boot_id_read(char boot[BOOT_ID_BYTES]);

/* All 0 when it was in another boot. */
struct image_id disk_opened_id(const struct disk_opened *opened, const char *boot);

/* Returns true when it is otherwise than before. */
bool disk_opened_keep(struct disk_opened *opened, const struct image_id *id, const char *boot);
