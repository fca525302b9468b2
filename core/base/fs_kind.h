/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is to be known of kinds of file systems, by the number that statfs tells.
 * Thread: any.
 */

#include <stdbool.h>

struct fs_kind {
    unsigned long type; /* f_type of struct statfs */
    const char *name;

    /*
     * It waits for nobody but its own devices.  A list of those, as the others grow in number, and
     * one that is laid over others (overlayfs, ecryptfs) waits for what is below.
     */
    bool is_local;
    bool makes_holes;     /* in all files, when it is asked to (fallocate) */
    bool makes_up_inodes; /* their numbers are not the same when it is mounted again */
};

/* NULL: not known. */
const struct fs_kind *fs_kind_of(unsigned long type);
