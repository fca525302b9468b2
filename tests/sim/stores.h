/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Put before every file of core/virtio that the simulation is built of (-include): each load and
 * store of a word that others may see is told of first, which is where a process may die, where
 * others go on meanwhile, and where stores change places.  What is compiled is the product's source
 * as it is.
 */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Somebody else may come first. */
void sim_load(void);

/* Returns whether to do it now.  `value` has so many bytes. */
bool sim_store(volatile void *at, const void *value, size_t bytes);

/* As memset, of which any part may have been done. */
void *sim_memset(void *at, int c, size_t bytes);

/* A macro is not replaced within itself: the inner one is the compiler's. */
#define __atomic_store_n(at, value, order)                                       \
    do {                                                                         \
        __typeof__(*(at)) sim_value_ = (value);                                  \
                                                                                 \
        if (sim_store((volatile void *)(at), &sim_value_, sizeof(sim_value_))) { \
            __atomic_store_n((at), sim_value_, (order));                         \
        }                                                                        \
    } while (0)

#define __atomic_load_n(at, order) (sim_load(), __atomic_load_n((at), (order)))

#define memset(at, c, bytes) sim_memset((at), (c), (bytes))
