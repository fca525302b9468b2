/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The line that tells a person at a terminal how the load goes on: on standard error, written
 * over each second.
 */

#include "cmd/bench/load.h"

void progress_show(struct load *load, uint64_t now);
void progress_clear(const struct load *load);
