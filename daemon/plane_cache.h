/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the driver has said of its cache, on its way to the state file: a driver that was told of
 * writethrough shall have it after a kill, too, as no front-end says it again.
 * Thread: the disk's, but for plane_cache_kept.
 */

#include "daemon/plane.h"

/*
 * The device has another mode, or is said to have it once more: flush what was written before, if
 * it is writethrough, let control keep it, and answer the front-end.  `arg` is the plane.
 */
void plane_cache_keep(void *arg);

/* plane->cache.err says whether it is kept.  The disk's thread is there.  Thread: control. */
void plane_cache_kept(struct plane *plane);
