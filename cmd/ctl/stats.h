/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * `stats`: counters since the disk was added, or rates over an interval.
 */

#include "cmd/common/command.h"

/* Check of `stats`: --interval and --count. */
int stats_check(const struct args *args, struct err *err);

/* Run of `stats`.  Returns the exit status. */
int stats_run(struct rpc *rpc, const struct args *args);
