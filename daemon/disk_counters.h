/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What of a disk's counters outlasts the daemon: all that only grow.  They are written with its row
 * when the daemon ends in order, so after a kill they go on from the last such end.
 * Thread: control.
 */

#include "core/base/param.h"
#include "core/base/stats.h"

/* Rows for a struct stats. */
extern const struct param disk_counters_params[];

/* Without what is of a moment. */
void disk_counters_keep(struct stats *kept, const struct stats *stats);
