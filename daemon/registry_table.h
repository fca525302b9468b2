/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The disks of the registry as the state file has them.
 * Thread: control.
 */

#include "daemon/registry.h"

/* The caller frees it; NULL, with the reason, when it cannot be made.  `arg` is a registry. */
char *registry_table_text(void *arg, struct err *err);

/* The same with those that are in no state file, as if they were. */
char *registry_table_whole(struct registry *registry, struct err *err);
