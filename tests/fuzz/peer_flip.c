/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A guest's other processor, which changes what the disk reads while it does. */

#include "tests/fuzz/peer.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

/* Between two words, so that a disk has a chance to see some as they were. */
#define FLIP_PAUSE 64u

static pthread_t flipper;
static bool is_flipping;
static atomic_bool flip_ends;
static struct peer_args flip_args;

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Where the words are that it flips: rings, frames, tables, the logs; and how many bytes. */
static void flip_range(uint8_t which, uint32_t *offset, uint32_t *len)
{
    static const struct {
        uint32_t offset, len;
    } ranges[] = {{0, 256},
                  {0, 1024},
                  {PEER_FRAMES_AT, 512},
                  {PEER_TABLES_AT, 512},
                  {PEER_INFLIGHT_AT, 1024},
                  {PEER_INFLIGHT_AT, PEER_LOG_AT - PEER_INFLIGHT_AT},
                  {PEER_LOG_AT, PEER_LOG_BYTES},
                  {0, PEER_DATA_AT}};

    *offset = ranges[which % ARRAY_SIZE(ranges)].offset;
    *len = ranges[which % ARRAY_SIZE(ranges)].len;
}

/* What the target's thread does with the same memory meanwhile is meant to be a race. */
__attribute__((no_sanitize("thread"))) static void *flip(void *arg)
{
    uint64_t seed = 1 + flip_args.b * 256u + flip_args.c;
    uint32_t offset, len;

    flip_range(flip_args.a, &offset, &len);
    while (!atomic_load_explicit(&flip_ends, memory_order_relaxed)) {
        uint64_t random = next_random(&seed);
        volatile uint16_t *word =
            (volatile uint16_t *)(void *)(peer.arena[0].host + offset + (random % len & ~1u));
        uint16_t was = *word;

        *word = (uint16_t)(flip_args.d & 1 ? random >> 32 : was ^ 1u << (random >> 32) % 16);
        for (volatile unsigned i = 0; i < FLIP_PAUSE; i++) {
        }
        if (flip_args.d & 2) {
            *word = was;
        }
    }
    return NULL;
}

void peer_flip(struct peer_args args)
{
    peer_flip_end();
    if (args.a & 128) {
        return;
    }
    flip_args = args;
    flip_ends = false;
    is_flipping = pthread_create(&flipper, NULL, flip, NULL) == 0;
}

void peer_flip_end(void)
{
    if (is_flipping) {
        flip_ends = true;
        assert(pthread_join(flipper, NULL) == 0);
        is_flipping = false;
    }
}
