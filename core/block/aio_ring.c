/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/aio_ring.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

_Static_assert(sizeof(struct aio_ring_shared) == 32, "as the kernel has it");
_Static_assert(sizeof(struct aio_ring_event) == 32, "as the kernel has it");

bool aio_ring_open(struct aio_ring *ring, void *context)
{
    struct aio_ring_shared *shared = context;

    *ring = (struct aio_ring){0};
    /* valgrind learns from io_getevents only what the kernel has written. */
    if (RUNNING_ON_VALGRIND || shared->magic != AIO_RING_MAGIC || shared->incompat_features != 0 ||
        shared->header_length != sizeof(*shared) || shared->count == 0) {
        return false;
    }
    ring->shared = shared;
    ring->count = shared->count;
    ring->head = shared->head;
    return true;
}

/*
 * The acquire makes the events before `tail` readable: its partner is the smp_wmb in the
 * kernel's aio_complete.  The release keeps our reads of events before the store that gives
 * their places away: its partner is the load of `head` in the kernel's refill_reqs_available
 * and user_refill_reqs_available, without which no place is used again.
 */
unsigned aio_ring_take(struct aio_ring *ring, struct engine_event *events, unsigned max)
{
    struct aio_ring_shared *shared = ring->shared;
    uint32_t tail = __atomic_load_n(&shared->tail, __ATOMIC_ACQUIRE);
    uint32_t head = ring->head;
    unsigned count = 0;

    while (head != tail && count < max) {
        const struct aio_ring_event *event = &shared->event[head];

        events[count++] = (struct engine_event){
            .data = (void *)(uintptr_t)event->data, // NOLINT(performance-no-int-to-ptr)
            .result = event->result,
        };
        head = head + 1 == ring->count ? 0 : head + 1;
    }
    if (count > 0) {
        ring->head = head;
        __atomic_store_n(&shared->head, head, __ATOMIC_RELEASE);
    }
    return count;
}
