/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The load from its ramp to the last answer.
 */

#include "cmd/bench/load.h"

/*
 * Ramp, measure, and check what was written.  Returns 0 when it has run, however it went; what
 * ends it is a back-end that is stuck or breaks its ring.
 */
int load_run(struct load *load, struct err *err);
