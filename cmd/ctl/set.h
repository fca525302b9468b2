/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * `set`: change settings of a disk, or print them.
 */

#include "cmd/common/command.h"

/* Run of `set`.  Returns the exit status. */
int set_run(struct rpc *rpc, const struct args *args);
