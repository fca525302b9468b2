/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The ring in which the kernel reports what has finished in an AIO context.  It is mapped into
 * our memory, at the address that io_setup returns, so that it can be read without a system
 * call.  The kernel writes events and `tail`, we write `head`.
 * Owned by its engine; disk thread only.
 * Source: Linux 6.1, fs/aio.c, "struct aio_ring", aio_complete(), aio_read_events_ring().
 */

#include "core/base/base.h"
#include "core/block/engine.h"

#define AIO_RING_MAGIC 0xa10a10a1u

/* As <linux/aio_abi.h> has it, which does not go together with <libaio.h>. */
struct aio_ring_event {
    uint64_t data;
    uint64_t iocb;
    int64_t result;
    int64_t result2;
};

struct aio_ring_shared {
    uint32_t id;
    uint32_t count; /* of events */
    uint32_t head;
    uint32_t tail;
    uint32_t magic;
    uint32_t compat_features;
    uint32_t incompat_features;
    uint32_t header_length; /* bytes */
    struct aio_ring_event event[];
};

struct aio_ring {
    struct aio_ring_shared *shared; /* lent by the context; NULL: use io_getevents */
    uint32_t count;
    uint32_t head; /* nobody else moves it */
};

/* Returns false when it is not laid out as we know it. */
bool aio_ring_open(struct aio_ring *ring, void *context);

/* Take results, up to `max`; returns how many. */
unsigned aio_ring_take(struct aio_ring *ring, struct engine_event *events, unsigned max);
