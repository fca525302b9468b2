/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The number by which a disk knows I/O that is under way for it from before (image_fence.h): the
 * same for the disk of this name whenever a daemon serves this state directory, in one boot of the
 * host, and for no other.
 * Thread: any.
 */

#include <stdint.h>

#include <sys/stat.h>

/* `boot` as boot_id_read tells it; `state_dir` as it is open.  Never 0. */
uint64_t disk_fence(const char *boot, const struct stat *state_dir, const char *name);
