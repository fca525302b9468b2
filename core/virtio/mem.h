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

#include <stdatomic.h>
#include <sys/uio.h>

#include "core/base/base.h"
#include "core/base/err.h"
#include "core/virtio/dirty_log.h"
#include "core/virtio/layout.h"

/* Why nothing is seen of a guest that wants something, and what mends it. */
#define MEM_HINT                                                                           \
    "share it: -object memory-backend-memfd,share=on in QEMU, <access mode='shared'/> in " \
    "libvirt, --memory shared=on in cloud-hypervisor"
#define MEM_NOT_SHARED "the guest's memory is not shared; " MEM_HINT
#define MEM_NOT_SEEN "no request is seen, so the guest's memory is probably not shared; " MEM_HINT

/*
 * Address space that regions may take, as they are mapped.  The process has 128 TiB (47 bits) of
 * it, and to share a file that is nothing but a hole costs its owner nothing.  One front-end may
 * have what the largest machines of today have as memory; all together leave a quarter for threads,
 * rings and images.
 */
#define MEM_MAX_BYTES (32ull << 40)
#define MEM_MAX_BYTES_OF_ALL (96ull << 40)

/* Of a log of requests in flight, more than all rings of a disk need. */
#define INFLIGHT_MAX_BYTES (1ull << 30)

struct mem_region {
    struct mem_layout layout;
    uint8_t *host; /* our address of layout.guest_addr */
    void *map;     /* owned: what mmap returned, and how long */
    size_t map_size;
    int fd; /* owned: of the same file, for who takes the memory over; -1: there was none to be had
             */

    /*
     * Zero pages are in its place, as its file was truncated.  Set by the guard on the thread that
     * ran into it; any thread of the disk may look.
     */
    _Atomic bool is_lost;
};

struct mem {
    struct mem_region region[MEM_MAX_REGIONS];
    unsigned count;
    uint64_t mapped; /* bytes, of all regions, and of both logs */

    /*
     * What is written here is to be marked there, as long as there is one.  It covers all regions.
     * Its mapping is one more region, which the guard knows as well, and which is in no table.
     */
    struct dirty_log log;
    struct mem_region log_region;

    /* The log of requests in flight (inflight.h), `layout.size` bytes at `host`; the same. */
    struct mem_region inflight_region;
};

/* Why memory is lost, for mem_why_lost. */
#define MEM_LOST "the file behind guest memory was truncated"
#define MEM_LOG_LOST "the file behind the log of its migration was truncated"
#define MEM_INFLIGHT_LOST "the file behind the log of its requests in flight was truncated"

/* Starts empty; only what is later used of `mem` is touched. */
void mem_init(struct mem *mem);

/* Unmap all regions; the logs stay.  No request may be in flight. */
void mem_clear(struct mem *mem);

/*
 * Map one region of `fd` (lent: the mapping outlives it, and a copy of it stays with the region).
 * Refuses empty and wrapping regions, overlaps, a full table, files shorter than the region, and
 * what would take more address space than there is for it.
 */
int mem_add(struct mem *mem, const struct mem_layout *layout, int fd, struct err *err);

/* Unmap the region with this guest address, user address and size.  No request may be in flight. */
int mem_remove(struct mem *mem, const struct mem_layout *layout, struct err *err);

/*
 * Our address of guest address `addr`, and in `*len` (bytes wanted on entry, > 0) how many
 * follow it in one piece.  NULL when `addr` lies in no region.
 */
void *mem_piece(struct mem *mem, uint64_t addr, uint64_t *len);

/*
 * The region that served the thread's last look-up.  A hint, as it may be of another memory or
 * of another table by now.
 */
extern _Thread_local unsigned mem_last;

/* Our address of [addr, addr + len) when all of it lies in that region, else NULL: look it up. */
static inline uint8_t *mem_at_last(const struct mem *mem, uint64_t addr, uint64_t len)
{
    const struct mem_region *region = &mem->region[mem_last];
    uint64_t into;

    if (mem_last >= mem->count) {
        return NULL;
    }
    into = addr - region->layout.guest_addr;
    return into < region->layout.size && len <= region->layout.size - into ? region->host + into
                                                                           : NULL;
}

/* Our address of [addr, addr + len) when all of it lies in one region, else NULL. */
void *mem_at(struct mem *mem, uint64_t addr, uint64_t len);

/* The same for an address in the front-end's own address space (ring addresses). */
void *mem_at_user(struct mem *mem, uint64_t user_addr, uint64_t len);

/* Copy from guest memory, across region edges.  Returns false when some of it is not there. */
bool mem_read(struct mem *mem, uint64_t addr, void *to, size_t len);

/* Has a region been lost, or a log?  Until it is unmapped.  Any thread of the disk. */
bool mem_is_lost(const struct mem *mem);

/* The same for people: a constant text. */
const char *mem_why_lost(const struct mem *mem);

/*
 * Take `bytes` of `fd` (lent) from `offset` on as the log, and give up the one before.  Refuses
 * what does not cover all regions, or is larger than DIRTY_LOG_MAX_BYTES, and what mem_add would;
 * after an error all is as it was.
 */
int mem_log_open(struct mem *mem, uint64_t bytes, uint64_t offset, int fd, struct err *err);

/* Nothing is marked any more. */
void mem_log_close(struct mem *mem);

/* The same for the log of requests in flight.  No ring may use the one before. */
int mem_inflight_open(struct mem *mem, uint64_t bytes, uint64_t offset, int fd, struct err *err);
void mem_inflight_close(struct mem *mem);

/* Mark what was stored at [at, at + len), our address, in one region.  There is a log. */
void mem_mark(const struct mem *mem, const void *at, uint64_t len);

/*
 * A guest or VMM can truncate the file behind its memory; touching the lost part raises
 * SIGBUS.  The guard turns that into zero pages for the region and a flag, so that such a
 * guest loses its own disk and nothing else.
 *
 * mem_guard_install: once, process-wide, before any disk thread.
 * mem_guard_watch:   the calling thread's memory (NULL: none) for the handler.
 * mem_guard_take:    has this thread run into a lost region since it was last asked?
 */
void mem_guard_install(void);
void mem_guard_watch(struct mem *mem);
bool mem_guard_take(void);
