/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Sizes as people write and read them.
 * Thread: any.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * "10G", "512m", "1.5T", "64KiB", "4096": a number of bytes, or one and K, M, G, T or P, in either
 * case and with or without "iB", for powers of 1024.  A fraction must come to whole bytes.
 * Returns 0, -EINVAL when it is no size, -ERANGE when it does not fit 63 bits, -EDOM for "10GB":
 * some mean powers of 1000 by it.
 */
int size_parse(const char *text, uint64_t *bytes);

/* What size_parse found wrong, to stand behind `"TEXT" is`. */
const char *size_problem(int ret);

/*
 * "1", "0.25", ".5": up to nine digits before the point; what is below a nanosecond is cut off.
 * Returns false for all else.
 */
bool seconds_parse(const char *text, uint64_t *time_ns);

#define SIZE_TEXT_BYTES 32

/* "10G", "1.5T", "1000" ...: exact where one decimal is enough, else rounded to one. */
const char *size_format(uint64_t bytes, char text[SIZE_TEXT_BYTES]);
