/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * `upgrade`: another vblkd is started, by us and not by the one that runs, and has its disks.
 */

#include "cmd/common/command.h"

/* Returns when it has them, or it is known that it has not. */
int upgrade_run(struct rpc *rpc, const struct args *args);
