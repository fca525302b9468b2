/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a driver that lies does to a ring: any value in any word that a driver writes.  And a
 * look at the words that the device writes, whatever they say.
 * Thread: the ring's owner.
 */

#include "core/driver/ring_driver.h"

void raw_ring_set_desc(struct ring_driver *ring, unsigned index, uint64_t addr, uint32_t len,
                       uint16_t flags, uint16_t next);

/* Put any head into the available ring; the device does not see it yet. */
void raw_ring_put(struct ring_driver *ring, uint16_t head);

/* The same, and show it.  Nobody is kicked. */
void raw_ring_offer(struct ring_driver *ring, uint16_t head);

void raw_ring_set_avail_idx(struct ring_driver *ring, uint16_t idx);
void raw_ring_set_used_event(struct ring_driver *ring, uint16_t idx);

/* How many used elements wait to be taken. */
unsigned raw_ring_used_count(const struct ring_driver *ring);

/* A piece at any address of the device. */
struct ring_piece raw_ring_piece(const struct ring_driver *ring, uint64_t addr, uint32_t len,
                                 bool is_in);

/* Empty again, with both indices at `base`: where a device that starts there goes on. */
void raw_ring_reset(struct ring_driver *ring, uint16_t base);
