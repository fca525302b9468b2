/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/json_memory.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/base/base.h"

/* Enough to read the longest line of a client.  Not touched, it costs nothing but addresses. */
#define RESERVE_BYTES (8u << 20)
#define RESERVE_ALIGN 16u

static struct {
    pthread_mutex_t lock;
    size_t used;   /* from the front; nothing is used again before all is free */
    unsigned live; /* pieces in use */
    _Alignas(RESERVE_ALIGN) char bytes[RESERVE_BYTES];
} reserve = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local unsigned failures;

static void *take_reserve(size_t size)
{
    size_t room = round_up(size, RESERVE_ALIGN);
    void *memory = NULL;

    (void)pthread_mutex_lock(&reserve.lock);
    if (size <= RESERVE_BYTES && room <= RESERVE_BYTES - reserve.used) {
        memory = reserve.bytes + reserve.used;
        reserve.used += room;
        reserve.live++;
    }
    (void)pthread_mutex_unlock(&reserve.lock);
    return memory;
}

static void give_reserve(void)
{
    (void)pthread_mutex_lock(&reserve.lock);
    reserve.live--;
    if (reserve.live == 0) {
        reserve.used = 0;
    }
    (void)pthread_mutex_unlock(&reserve.lock);
}

void *json_memory_alloc(size_t size)
{
    void *memory = malloc(size);

    if (memory) {
        return memory;
    }
    failures++;
    return take_reserve(size);
}

void json_memory_free(void *memory)
{
    uintptr_t offset = (uintptr_t)memory - (uintptr_t)reserve.bytes;

    if (memory && offset < RESERVE_BYTES) {
        give_reserve();
    } else {
        free(memory);
    }
}

void json_memory_install(void)
{
    json_set_alloc_funcs(json_memory_alloc, json_memory_free);
}

unsigned json_memory_failures(void)
{
    return failures;
}

json_t *json_memory_check(json_t *value, unsigned before)
{
    if (failures == before) {
        return value;
    }
    json_decref(value);
    return NULL;
}
