/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The IMAGE operand: a path, or TYPE:VALUE[,KEY=VALUE]... as null:SIZE[,delay-ms=N].  What types
 * there are, and what they have, is in the daemon's tables: VALUE is what a type requires, and
 * keys are what it alone has.  Of files, the first type, that is a path and options.
 */

#include <jansson.h>

#include "core/base/err.h"

/* Set the members of `image` (options have set some before).  Returns 0 or -EINVAL. */
int image_parse(const char *text, json_t *image, struct err *err);

/* "null:SIZE[,delay-ms=N]": what else than a path there is. */
#define IMAGE_USAGE_BYTES 160
void image_usage(char usage[IMAGE_USAGE_BYTES]);

/*
 * What the operand has for the parameter `name`, of `len` bytes, as "image.delay_ms".  Returns
 * false when it is none of the operand's, or an option.
 */
#define IMAGE_WORD_BYTES 64
bool image_word(const json_t *image, const char *name, size_t len, char word[IMAGE_WORD_BYTES]);
