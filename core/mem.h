/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The guest's memory as the front-end shares it: regions of file-backed shared memory,
 * sorted by guest address, none overlapping.  Owned by its device and changed by the disk's
 * own thread while no other looks.
 *
 * Nothing here follows a pointer of the guest: every function bounds the whole range
 * before it returns an address.
 */

#include <sys/uio.h>

#include "core/base.h"
#include "core/err.h"

/* As many as QEMU, crosvm and cloud-hypervisor may use (vhost-user, "CONFIGURE_MEM_SLOTS"). */
#define MEM_MAX_REGIONS 509

/* One region as the front-end describes it.  Bytes. */
struct mem_layout {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr; /* where the front-end itself has it mapped; ring addresses use it */
    uint64_t offset;    /* in the file */
};

struct mem_region {
    struct mem_layout layout;
    uint8_t *host; /* our address of layout.guest_addr */
    void *map;     /* owned: what mmap returned, and how long */
    size_t map_size;
};

struct mem {
    struct mem_region region[MEM_MAX_REGIONS];
    unsigned count;
};

/* Starts empty; only what is later used of `mem` is touched. */
void mem_init(struct mem *mem);

/* Unmap all.  No request may be in flight. */
void mem_clear(struct mem *mem);

/*
 * Map one region of `fd` (lent: the mapping outlives it).
 * Refuses empty and wrapping regions, overlaps, a full table, and files shorter than the region.
 */
int mem_add(struct mem *mem, const struct mem_layout *layout, int fd, struct err *err);

/* Unmap the region with this guest address, user address and size.  No request may be in flight. */
int mem_remove(struct mem *mem, const struct mem_layout *layout, struct err *err);

/*
 * Our address of guest address `addr`, and in `*len` (bytes wanted on entry, > 0) how many
 * follow it in one piece.  NULL when `addr` lies in no region.
 */
void *mem_piece(struct mem *mem, uint64_t addr, uint64_t *len);

/* Our address of [addr, addr + len) when all of it lies in one region, else NULL. */
void *mem_at(struct mem *mem, uint64_t addr, uint64_t len);

/* The same for an address in the front-end's own address space (ring addresses). */
void *mem_at_user(struct mem *mem, uint64_t user_addr, uint64_t len);

/* Copy from guest memory, across region edges.  Returns false when some of it is not there. */
bool mem_read(struct mem *mem, uint64_t addr, void *to, size_t len);

/*
 * A guest or VMM can truncate the file behind its memory; touching the lost part raises
 * SIGBUS.  The guard turns that into zero pages for the region and a flag, so that such a
 * guest loses its own disk and nothing else.
 *
 * mem_guard_install: once, process-wide, before any disk thread.
 * mem_guard_watch:   the calling thread's memory (NULL: none) for the handler.
 * mem_guard_tripped: has a region been lost since mem_guard_watch?
 */
void mem_guard_install(void);
void mem_guard_watch(struct mem *mem);
bool mem_guard_tripped(void);
