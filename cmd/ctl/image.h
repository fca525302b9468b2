/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The IMAGE operand: a path, or null:SIZE[,delay-ms=N].
 */

#include <jansson.h>

#include "core/err.h"

/* Set the members of `image` (options have set some before).  Returns 0 or -EINVAL. */
int image_parse(const char *text, json_t *image, struct err *err);

/* The caller frees it; NULL when there is no working directory. */
char *image_absolute(const char *path);
