/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A vhost-user-blk front-end: connects to a back-end, shares memory, sets up rings and does
 * requests, as a VMM and its guest would.  Works with any back-end, not only ours.
 * One thread; poll(2) and eventfds only.  Functions return 0 or -errno; a back-end that is
 * silent for FRONTEND_TIMEOUT_MS is -ETIMEDOUT.
 */

#include <linux/virtio_blk.h>

#include "tests/lib/driver.h"
#include "tests/lib/vhost_msg.h"

#define FRONTEND_TIMEOUT_MS 10000
#define FRONTEND_MAX_RINGS 64

/* Where its memory lies in the guest's address space. */
#define FRONTEND_GUEST_ADDR 0x100000ull

struct frontend_opts {
    const char *socket;
    unsigned queues;
    unsigned queue_size;
    unsigned depth;         /* requests at once on each ring */
    uint32_t request_bytes; /* largest data part of one */
    uint64_t refuse;        /* feature bits that it does not accept */
    bool use_mem_slots;     /* ADD_MEM_REG and not SET_MEM_TABLE */
    bool is_simple;         /* no protocol features at all, as the oldest front-ends */
};

struct frontend_ring;

/* One request; its memory belongs to its ring. */
struct frontend_request {
    struct frontend_ring *ring; /* parent */
    struct frontend_request *next;
    uint64_t header_addr; /* guest addresses */
    uint64_t data_addr;
    uint64_t status_addr;
    uint64_t table_addr;
    void *data; /* ours */
    uint64_t start_ns;
    uint32_t type;
    uint32_t len;
    uint32_t used_len; /* as the device said */
    uint16_t head;
    uint8_t status;
};

struct frontend_ring {
    struct frontend *fe; /* parent */
    struct driver drv;
    unsigned index;
    int kick_fd; /* owned */
    int call_fd; /* owned */
    int err_fd;  /* owned */
    uint16_t kicked_idx;
    unsigned inflight;
    uint64_t calls;                    /* read from the call fd */
    struct frontend_request *requests; /* owned, `depth` of them */
    struct frontend_request *free;
    struct frontend_request *by_head[DRIVER_MAX_SIZE];
};

struct frontend {
    struct frontend_opts opts;
    int sock; /* owned, -1: none */
    struct arena arena;
    uint64_t offered;
    uint64_t features;
    uint64_t protocol_features;
    uint64_t max_queues;
    struct virtio_blk_config config;
    struct frontend_ring *ring; /* owned, `queues` of them */
};

/* Messages with a reply or without, and their parts, in the order in which a VMM sends them. */
int frontend_get_u64(struct frontend *fe, uint32_t request, uint64_t *value);
int frontend_set(struct frontend *fe, uint32_t request, const void *payload, uint32_t len, int fd);
int frontend_set_u64(struct frontend *fe, uint32_t request, uint64_t value, int fd);
int frontend_set_vring(struct frontend *fe, uint32_t request, uint32_t index, uint32_t num);
int frontend_get_vring_base(struct frontend *fe, uint32_t index, uint32_t *base);
int frontend_get_config(struct frontend *fe, void *to, uint32_t offset, uint32_t len);

/* Share a region with SET_MEM_TABLE (the only one then) or ADD_MEM_REG. */
int frontend_share(struct frontend *fe, const struct vhost_region_msg *region, int fd);

/* Has this bit been negotiated? */
static inline bool frontend_has(const struct frontend *fe, unsigned bit)
{
    return fe->features >> bit & 1;
}

static inline bool frontend_has_protocol(const struct frontend *fe, unsigned bit)
{
    return fe->protocol_features >> bit & 1;
}

/* Memory and rings of our own; connects nowhere yet. */
void frontend_init(struct frontend *fe, const struct frontend_opts *opts);
void frontend_fini(struct frontend *fe);

/* Connect and negotiate features; no memory, no rings. */
int frontend_connect(struct frontend *fe);

/* Tell the back-end about one ring, in the usual order, and enable it. */
int frontend_ring_start(struct frontend *fe, unsigned index, uint16_t base);

/* All of it: connect, negotiate, share, start every ring. */
int frontend_start(struct frontend *fe);

/* Close the socket, whatever is in flight; frontend_start may follow. */
void frontend_disconnect(struct frontend *fe);

/*
 * Requests.  `frontend_prepare` returns NULL when `depth` requests are under way; fill in
 * `data`, put it into the ring with `frontend_put`, show all that were put to the device and
 * kick if it wants with `frontend_kick`.  `frontend_reap` returns the next that is done, or
 * NULL; its memory may be used until `frontend_release`.
 */
struct frontend_request *frontend_prepare(struct frontend_ring *ring, uint32_t type,
                                          uint64_t sector, uint32_t len);
void frontend_put(struct frontend_request *request);
void frontend_kick(struct frontend_ring *ring);
struct frontend_request *frontend_reap(struct frontend_ring *ring);
void frontend_release(struct frontend_request *request);

/* Wait until a ring has something to reap. */
int frontend_wait(struct frontend *fe, int timeout_ms);

/* One request, from start to end; the status byte or -errno. */
int frontend_do(struct frontend_ring *ring, uint32_t type, uint64_t sector, void *data,
                uint32_t len);
