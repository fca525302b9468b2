/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A piece of guest memory that a test owns: a memfd, mapped here, which appears to the
 * device at `guest_addr`.  Parts of it are handed out front to back and never taken back.
 * World errors end the test program: there is nothing that a test could do about them.
 * Thread: whoever owns it.
 */

#include "core/base/base.h"

struct arena {
    int fd;        /* owned */
    uint8_t *host; /* owned: our address of guest_addr */
    uint64_t guest_addr;
    uint64_t size; /* bytes */
    uint64_t next; /* first byte that is not handed out */
};

void arena_init(struct arena *arena, uint64_t guest_addr, uint64_t size);
void arena_fini(struct arena *arena);

/* Hand out `len` bytes, zeroed when nobody wrote there.  Returns their guest address. */
uint64_t arena_take(struct arena *arena, uint64_t len, uint64_t align);

/* Our address of a guest address inside the arena. */
void *arena_at(const struct arena *arena, uint64_t guest_addr);
