/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A disk's limits, as `show` and `stats` print them. */

#include <jansson.h>

/* Those that there are, its group, and what waits for them. */
void rates_show(const json_t *disk);

/* One line of statistics. */
void rates_stats(const json_t *disk);
