/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What `list`, `show`, `start`, `stop` and `remove` print.
 */

#include <jansson.h>

#include "cmd/common/command.h"

void show_list(const json_t *result, const struct args *args);
/* The two ways of `show` to print do not go together. */
int show_check(const struct args *args, struct err *err);
void show_disk(const json_t *disk, const struct args *args);

/* What is wrong with what goes on all the same, a line for each, with `key` before it. */
void show_warnings(const json_t *object, const char *key);

/* "vda: stopped", or that it was so already. */
void show_change(const json_t *disk, const struct args *args);
void show_removed(const json_t *result, const struct args *args);
