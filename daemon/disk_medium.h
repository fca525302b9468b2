/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is to become of a disk's image, as far as the table knows (plane_medium.h does it).
 * Thread: control.
 */

#include "daemon/registry.h"

/* Of replace and insert. */
struct medium_target {
    char path[PATH_MAX];
    char format[8]; /* "": what it looks like counts */
};

/*
 * Of an eject `target` is NULL.  The caller frees it.  NULL when the disk has not what is asked
 * for, `err` says why.
 */
struct medium_ask *disk_medium_new(const struct disk *disk, enum medium_change change,
                                   const struct medium_target *target, struct err *err);
