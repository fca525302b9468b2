/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Sees to it that the disks' sockets are where they were made: when one has gone, the disk's
 * thread is asked to look, and asked again while it cannot be made.
 * Thread: control.
 */

#include "daemon/registry.h"

/* Returns 0 or -errno. */
int registry_sockets_init(struct registry *registry);

/* The disk listens from now on, or no longer. */
void registry_sockets_add(struct disk *disk);
void registry_sockets_drop(struct disk *disk);

void registry_sockets_fini(struct registry *registry);
