/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The copy of a disk's state that goes to the control thread: nobody reads counters across
 * threads.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

void plane_info_fill(struct plane *plane, struct plane_info *info);
