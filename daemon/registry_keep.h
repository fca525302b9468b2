/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a disk's thread, and not a client, has to say of the disk goes into the table: what its
 * guest says of its cache (plane_cache.h), that its image is handed over (plane_keep.h), which
 * image it has by now (plane_medium.h), and that it has shrunk (plane_resize.h).
 * Thread: control.
 */

#include "daemon/registry.h"

/* For plane_opts.keep_cache. */
void registry_cache_keep(struct plane *plane);

/* For plane_opts.keep_handover. */
void registry_handover_keep(struct plane *plane);

/* For plane_opts.keep_medium. */
void registry_medium_keep(struct plane *plane);

/* For plane_opts.keep_size. */
void registry_size_keep(struct plane *plane);
