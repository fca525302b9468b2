/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is wrong with a disk that goes on all the same, and what to do about it: for disk.list and
 * disk.show.
 * Thread: control.
 */

#include <jansson.h>

struct disk_config;
struct keeper;
struct plane_info;

/*
 * An array, of objects with "code", a word for programs, and "text", a sentence; `path` is the
 * image's.
 */
json_t *disk_warnings(const char *path, const struct plane_info *info);

/* Append what of its options is a danger, to be told to who looks at it alone. */
void disk_warnings_of_config(json_t *list, const struct disk_config *config);

/* Append what is said once, when the disk is added. */
void disk_warnings_of_new(json_t *list, const struct plane_info *info);

/* The same of the daemon: the table of disks is not on stable storage. */
json_t *daemon_warnings(const struct keeper *keeper);
