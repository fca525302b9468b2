/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An engine over another one, which writes down what goes to the kernel (io_log.h): below merges,
 * retries and bounce buffers, so it is what the kernel sees.  A test may have it make mistakes.
 */

#include "core/block/engine.h"
#include "core/block/io_log.h"

/* As engine_open; where there is a log, over that engine. */
int engine_log_open(struct engine **out, const struct engine_opts *opts, struct err *err);
