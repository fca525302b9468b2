/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What vblkbench prints: a few lines for people, or one JSON object.
 */

#include "cmd/bench/load.h"

/* Returns false when standard output does not take it. */
bool report_print(const struct load *load, const char *socket);
