/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Groups of disks that share their limits, as control sees them: each member's record has what
 * holds for all, so a group is the same after a restart, whoever is there first.
 * Thread: control.
 */

#include "daemon/registry.h"

/*
 * A new disk that names a group has what holds there.  -EEXIST: it asks for something else, which
 * would change it for others.
 */
int registry_group_enter(const struct registry *registry, struct disk_config *config,
                         struct err *err);

/* A disk of the state file has what the first one of its group has. */
void registry_group_restore(const struct registry *registry, struct disk_config *config);

/*
 * What a change means for the disk: with a group comes what holds there.  Returns 0, or as
 * registry_group_enter.
 */
int registry_group_change(const struct disk *disk, struct settings *change, struct err *err);

/*
 * What holds for the disk's group is what its disks' threads have made of it by now: of several
 * changes that were under way at once, answers may come in another order.
 */
void registry_group_learn(struct disk *disk);

/* The disk's limits were set, and with them those of its group. */
void registry_group_spread(const struct disk *disk);
