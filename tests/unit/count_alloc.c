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

void *__wrap_malloc(size_t size)
{
    calls++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    calls++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    calls++;
    return __real_realloc(memory, size);
}

void __wrap_free(void *memory)
{
    calls += memory != NULL;
    __real_free(memory);
}

void count_alloc_install(void)
{
    uv_replace_allocator(__wrap_malloc, __wrap_realloc, __wrap_calloc, __wrap_free);
}

unsigned long count_alloc(void)
{
    return calls;
}
