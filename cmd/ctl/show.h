/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What `show`, `start`, `stop` and `remove` print.
 */

#include <jansson.h>

#include "cmd/common/command.h"

/* The two ways of `show` to print do not go together. */
int show_check(const struct args *args, struct err *err);
void show_disk(const json_t *disk, const struct args *args);

/* "vda: stopped", or that it was so already. */
void show_change(const json_t *disk, const struct args *args);
void show_removed(const json_t *result, const struct args *args);
