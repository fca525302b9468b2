/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Counts what is allocated and freed by our objects (linker option --wrap) and by libuv
 * (uv_replace_allocator).  Any thread; the count is for tests with one.
 */

/* Before the first use of libuv. */
void count_alloc_install(void);

/* Calls of malloc, calloc, realloc and of free with something to free, so far. */
unsigned long count_alloc(void);
