/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Answers in the order of requests, for drivers that were promised it.  What is done before what
 * is older waits here, without its slot: it is not in flight, and the driver has not been told.
 * What is held keeps its place.
 * Source: VIRTIO 1.2, 2.7.9 and 2.8.8 "In-order use of descriptors" (VIRTIO_F_IN_ORDER).
 */

#include <stdlib.h>

#include "core/virtio/ring_inside.h"

struct ordered {
    uint32_t len;
    uint16_t id;
    bool is_done;
};

/* Of the ring's size: a request has its turn in the queue from its first pop to its answer. */
struct ring_order {
    uint16_t *turn; /* by id */
    uint32_t first; /* turns, counts that wrap */
    uint32_t next;
    struct ordered queue[];
};

int ring_order_init(struct ring *ring)
{
    size_t size = ring->layout.size;
    struct ring_order *order =
        calloc(1, sizeof(*order) + size * (sizeof(order->queue[0]) + sizeof(*order->turn)));

    if (!order) {
        return -ENOMEM;
    }
    order->turn = (uint16_t *)(order->queue + size);
    ring->order = order;
    return 0;
}

static struct ordered *at_turn(const struct ring *ring, uint32_t turn)
{
    return &ring->order->queue[turn & (ring->layout.size - 1)];
}

void ring_order_add(struct ring *ring, unsigned id)
{
    struct ring_order *order = ring->order;

    order->turn[id] = (uint16_t)order->next;
    *at_turn(ring, order->next) = (struct ordered){.id = (uint16_t)id};
    order->next++;
}

void ring_order_push(struct ring *ring, unsigned id, uint32_t len)
{
    struct ring_order *order = ring->order;
    struct ordered *done = at_turn(ring, order->turn[id]);

    done->len = len;
    done->is_done = true;
    while (order->first != order->next && at_turn(ring, order->first)->is_done) {
        const struct ordered *first = at_turn(ring, order->first);

        order->first++;
        ring->format->answer(ring, first->id, first->len);
        ring_free_name(ring, first->id);
    }
}
