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
 * "10G", "512m", "1.5T", "64KiB", "4096", "4096B": a number, and K, M, G, T or P for powers
 * of 1024.  A fraction must come to whole bytes.
 * Returns 0, -EINVAL when it is no size, -ERANGE when it does not fit 63 bits.
 */
int size_parse(const char *text, uint64_t *bytes);

#define SIZE_TEXT_BYTES 32

/* "10G", "1.5T", "1000" ...: exact where one decimal is enough, else rounded to one. */
const char *size_format(uint64_t bytes, char text[SIZE_TEXT_BYTES]);
