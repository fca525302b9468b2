/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/count_alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

/* The linker sends calls of malloc to __wrap_malloc, and those of __real_malloc to malloc. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

static atomic_ulong calls;
static _Thread_local unsigned long until_failure;
static _Thread_local bool fails_for_good;
static _Thread_local bool has_failed;

static bool must_fail(void)
{
    if (until_failure > 1) {
        until_failure--;
        return false;
    }
    if (until_failure == 0) {
        return false;
    }
    until_failure = fails_for_good;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    calls++;
    return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    calls++;
    return must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    calls++;
    return must_fail() ? NULL : __real_realloc(memory, size);
}

void __wrap_free(void *memory)
{
    calls += memory != NULL;
    __real_free(memory);
}

/* libuv asks for its table of watchers by this, and aborts where it gets none. */
static void *realloc_of_libuv(void *memory, size_t size)
{
    calls++;
    return __real_realloc(memory, size);
}

void count_alloc_install(void)
{
    uv_replace_allocator(__wrap_malloc, realloc_of_libuv, __wrap_calloc, __wrap_free);
}

unsigned long count_alloc(void)
{
    return calls;
}

void fail_alloc(unsigned long n, bool and_all)
{
    fails_for_good = and_all;
    until_failure = n;
    has_failed = false;
}

bool fail_alloc_end(void)
{
    until_failure = 0;
    return has_failed;
}
