/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * `stats`: counters since the disk was added, or rates over an interval.
 */

#include "cmd/ctl/command.h"

/* Run of `stats`.  Returns the exit status. */
int stats_run(struct rpc *rpc, const struct args *args);
