/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Counts what is allocated and freed by our objects (linker option --wrap), by libuv
 * (uv_replace_allocator) and by what jansson asks of json_memory; and lets it fail.
 * Any thread; the count is for tests with one.
 */

#include <stdbool.h>

/* Before the first use of libuv. */
void count_alloc_install(void);

/* Calls of malloc, calloc, realloc and of free with something to free, so far. */
unsigned long count_alloc(void);

/*
 * From here on the allocation number `n` of this thread fails, 1 being the next; 0: none.
 * `and_all`: and those that follow.
 */
void fail_alloc(unsigned long n, bool and_all);

/* Has it failed?  And fail no more. */
bool fail_alloc_end(void);
