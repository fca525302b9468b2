/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How disks come into the registry and leave it, and the registry itself begins and ends.
 * Thread: control.
 */

#include "daemon/registry.h"

int registry_init(struct registry *registry, const struct registry_opts *opts);

/* After registry_stop has said that all is clean. */
void registry_fini(struct registry *registry);

/*
 * Bring back the disks of the state file, side by side; `restored(arg)` when each is there or
 * has missed its deadline.  What cannot be opened exists all the same, and says why.
 * Returns -errno, with some of them started, when the table cannot be brought back.
 */
int registry_restore(struct registry *registry, const struct disk_record *records, size_t count,
                     void (*restored)(void *arg), void *arg, struct err *err);

/*
 * Add a disk and open it.  Returns 0 and calls `done` later, or refuses with -errno in `err` and
 * never calls it.  `config` is completed here, and copied.
 */
int registry_add(struct registry *registry, struct disk_config *config, void (*done)(struct op *op),
                 void *arg, struct err *err);

/*
 * End all disks, front-ends connected or not; what is in flight is answered first.  What clients
 * have changed until then is kept, with a last try at what could not be written (keeper_why).
 */
void registry_stop(struct registry *registry, void (*stopped)(void *arg, bool is_clean), void *arg);
