/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What front-ends may do that mean harm, each a round that can be done again and again:
 * hostile-peer does so, from a seed, beside disks that are to go on.  A round gets a front-end that
 * is connected, or whose rings run, and need not end it.
 */

#include "tests/lib/frontend.h"

struct hostile {
    const char *name;
    bool has_rings; /* its rings run, else it is only connected */
    void (*round)(struct frontend *fe);
    bool is_packed;
    bool is_tracked; /* has an in-flight region */
};

extern const struct hostile hostile_rings[];
extern const struct hostile hostile_messages[];

/* From the seed. */
uint64_t hostile_random(void);
unsigned hostile_below(unsigned bound);

/* How long a round goes on that is a storm: until it returns false. */
bool hostile_goes_on(void);

void hostile_kick(struct frontend_ring *ring);

/* A message as told, with these fds; whoever was hung up on does not mind. */
void hostile_send(struct frontend *fe, uint32_t request, const void *payload, uint32_t len,
                  const int *fds, unsigned fd_count);

/* Some reads of each ring are in flight, or were. */
void hostile_load(struct frontend *fe);
