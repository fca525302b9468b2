/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A guest from start to end: build the machine, run it, take it apart.
 */

#include "cmd/vm/options.h"

/* Returns the exit status; what went wrong has been said on standard error. */
int vm_run(const struct vm_options *options);
