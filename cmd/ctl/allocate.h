/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An addition whose new file is allocated, which takes as long as that is large: a signal does not
 * leave it to itself.
 */

#include "cmd/common/rpc.h"
#include "cmd/ctl/args.h"

/* Is it such a one? */
bool allocate_is_asked(const struct args *args);

/* SIGINT and SIGTERM end the wait of `rpc` from now on, once; the next one ends the program. */
void allocate_begin(struct rpc *rpc);

/* Has that happened?  Then the disk is removed, and `err` says what came of it. */
bool allocate_has_ended(const struct args *args, struct err *err);
