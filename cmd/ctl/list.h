/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What `list` prints, and what is wrong with a disk that goes on all the same.
 */

#include <jansson.h>

#include "cmd/common/command.h"

void list_show(const json_t *result, const struct args *args);

/* A line for each warning of `object`, with `key` before it. */
void list_warnings(const json_t *object, const char *key);
