/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a disk says of itself, as the control protocol shows it.  NULL without memory, never an
 * object that lacks a member.
 * Thread: control.
 */

#include <jansson.h>

#include "daemon/registry.h"

/* All that is known of one disk, for disk.show; without its rings, for disk.list. */
json_t *disk_json_show(const struct disk *disk, const struct plane_info *info);
json_t *disk_json_list(const struct disk *disk, const struct plane_info *info);

/* The same for disk.add, which has more to warn of. */
json_t *disk_json_added(const struct disk *disk, const struct plane_info *info);

/* A disk whose thread does not answer: what control itself knows, and why. */
json_t *disk_json_stuck(const struct disk *disk, const char *reason);

/* Counters. */
json_t *disk_json_stats(const struct disk *disk, const struct plane_info *info);
