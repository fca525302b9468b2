/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/arena.h"

#include <assert.h>
#include <err.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void arena_init(struct arena *arena, uint64_t guest_addr, uint64_t size)
{
    *arena = (struct arena){.guest_addr = guest_addr, .size = size};
    arena->fd = memfd_create("vblk-test", MFD_CLOEXEC);
    if (arena->fd < 0 || ftruncate(arena->fd, (off_t)size) < 0) {
        err(EXIT_FAILURE, "memfd of %llu bytes", (unsigned long long)size);
    }
    arena->host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd, 0);
    if (arena->host == MAP_FAILED) {
        err(EXIT_FAILURE, "cannot map %llu bytes", (unsigned long long)size);
    }
}

void arena_fini(struct arena *arena)
{
    munmap(arena->host, arena->size);
    close(arena->fd);
    *arena = (struct arena){.fd = -1};
}

uint64_t arena_take(struct arena *arena, uint64_t len, uint64_t align)
{
    uint64_t start = round_up(arena->next, align);

    if (!range_ok(start, len, arena->size)) {
        errx(EXIT_FAILURE, "the test's guest memory is too small");
    }
    arena->next = start + len;
    return arena->guest_addr + start;
}

void *arena_at(const struct arena *arena, uint64_t guest_addr)
{
    assert(guest_addr >= arena->guest_addr && guest_addr - arena->guest_addr < arena->size);
    return arena->host + (guest_addr - arena->guest_addr);
}
