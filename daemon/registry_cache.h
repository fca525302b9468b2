/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What guests say of their caches goes into the table (plane_cache.h).
 * Thread: control.
 */

#include "daemon/registry.h"

/* For plane_opts.keep_cache. */
void registry_cache_keep(struct plane *plane);
