/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is told of requests that failed and are held.
 * Thread: control.
 */

#include <jansson.h>

#include "daemon/plane.h"

/* As QEMU calls it: "ok", or why the disk is paused, "nospace" or "failed".  Constant text. */
const char *disk_held_iostatus(const struct plane_info *info);

/* The first of them, or null. */
json_t *disk_held_first(const struct plane_info *info);

/* How many there are of each type, and how many were not tried since the last start. */
json_t *disk_held_types(const struct plane_info *info);

/* A sentence for people, with what to do; "": none is held. */
void disk_held_say(const struct plane_info *info, char *text, size_t size);
