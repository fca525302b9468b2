/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Front-ends that run their rings, and lie there, or take away what these lie in. */

#include "tests/e2e/hostile_peer.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void cut(int fd, uint64_t bytes)
{
    (void)!ftruncate(fd, (off_t)bytes);
}

/* All of it, or the half behind the rings, for good or for a moment. */
static void shrink(struct frontend *fe)
{
    hostile_load(fe);
    cut(fe->arena.fd, hostile_below(2) * fe->arena.size / 2);
    for (unsigned i = 0; i < 3; i++) {
        hostile_kick(&fe->ring[0]);
        hostile_kick(&fe->ring[1]);
        (void)poll(NULL, 0, (int)hostile_below(3));
    }
    if (hostile_below(2)) {
        cut(fe->arena.fd, fe->arena.size);
    }
}

/* All of it, for good. */
static void vanish(struct frontend *fe)
{
    hostile_load(fe);
    cut(fe->arena.fd, 0);
    hostile_kick(&fe->ring[0]);
    hostile_kick(&fe->ring[1]);
}

static void jump(struct frontend *fe)
{
    raw_ring_set_avail_idx(fe->ring[0].drv, (uint16_t)(100 + hostile_below(60000)));
    hostile_kick(&fe->ring[0]);
}

static void loop(struct frontend *fe)
{
    struct ring_driver *drv = fe->ring[0].drv;
    uint64_t addr = ring_driver_addr(drv, fe->ring[0].requests->data);
    unsigned length = 1 + hostile_below(8);

    for (unsigned i = 0; i < length; i++) {
        raw_ring_set_desc(drv, i, addr, 16, VRING_DESC_F_NEXT, (uint16_t)((i + 1) % length));
    }
    raw_ring_offer(drv, 0);
    hostile_kick(&fe->ring[0]);
}

/* ---- another processor ---- */

struct flipping {
    pthread_t thread;
    uint8_t *at;
    uint32_t len;
    uint64_t seed;
    atomic_bool ends;
};

static void *flip(void *arg)
{
    struct flipping *flipping = arg;
    uint64_t random = flipping->seed | 1;

    while (!atomic_load_explicit(&flipping->ends, memory_order_relaxed)) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        ((volatile uint8_t *)flipping->at)[random % flipping->len] ^= (uint8_t)(random >> 56);
    }
    return NULL;
}

static bool flip_start(struct flipping *flipping, void *at, uint32_t len)
{
    flipping->at = at;
    flipping->len = len;
    flipping->seed = hostile_random();
    atomic_init(&flipping->ends, false);
    return pthread_create(&flipping->thread, NULL, flip, flipping) == 0;
}

static void flip_end(struct flipping *flipping)
{
    flipping->ends = true;
    (void)pthread_join(flipping->thread, NULL);
}

/* Descriptors change while they are read; the ring itself says what it should. */
static void flips(struct frontend *fe)
{
    struct ring_driver *drv = fe->ring[0].drv;
    struct flipping flipping;
    unsigned rounds = 200;

    hostile_load(fe);
    if (!flip_start(&flipping, drv->desc, drv->size * (uint32_t)sizeof(*drv->desc))) {
        return;
    }
    while (rounds-- > 0 || hostile_goes_on()) {
        raw_ring_offer(drv, (uint16_t)hostile_below(drv->size));
        hostile_kick(&fe->ring[0]);
    }
    flip_end(&flipping);
}

/* All of the rings, indices too. */
static void noise(struct frontend *fe)
{
    struct flipping flipping;
    unsigned rounds = 200;

    hostile_load(fe);
    if (!flip_start(&flipping, fe->ring[0].drv->desc, 2048)) {
        return;
    }
    while (rounds-- > 0 || hostile_goes_on()) {
        hostile_kick(&fe->ring[0]);
    }
    flip_end(&flipping);
}

/* ---- signals ---- */

static void kicks(struct frontend *fe)
{
    unsigned count = 2000;

    while (count-- > 0 || hostile_goes_on()) {
        hostile_kick(&fe->ring[count & 1]);
    }
}

/* Its counter has no room for one more. */
static void call_full(struct frontend *fe)
{
    uint64_t most = UINT64_MAX - 1;

    for (unsigned i = 0; i < fe->opts.queues; i++) {
        (void)!write(fe->ring[i].fds->call, &most, sizeof(most)); /* it may have counted */
    }
    hostile_load(fe);
    while (hostile_goes_on()) {
        hostile_kick(&fe->ring[0]);
    }
}

/* ---- where rings are ---- */

static void start_ring_at(struct frontend *fe, unsigned index, uint64_t desc, uint64_t avail,
                          uint64_t used)
{
    const struct vhost_vring_addr_msg addr = {
        .index = index, .desc = desc, .avail = avail, .used = used};
    const uint64_t u64 = index;

    (void)frontend_ring_stop(fe, index, NULL);
    hostile_send(fe, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
    hostile_send(fe, VHOST_SET_VRING_KICK, &u64, sizeof(u64), &fe->ring[index].fds->kick, 1);
    for (unsigned i = 0; i < 20; i++) {
        hostile_kick(&fe->ring[index]);
    }
}

/* Both rings in one place, or the parts of one over each other. */
static void overlap(struct frontend *fe)
{
    const struct ring_driver *drv = fe->ring[0].drv;
    uint64_t desc = (uintptr_t)drv->desc, used = (uintptr_t)drv->used;

    hostile_load(fe);
    if (hostile_below(2)) {
        start_ring_at(fe, 1, desc, (uintptr_t)drv->avail, used);
    } else {
        start_ring_at(fe, 1, desc, desc, desc);
    }
    hostile_load(fe);
}

/* In no memory, or across its end. */
static void nowhere(struct frontend *fe)
{
    uint64_t end = (uintptr_t)fe->arena.host + fe->arena.size;
    uint64_t at = hostile_below(2) ? hostile_random() & ~0xfull : end - 16;

    start_ring_at(fe, 1, at, at, at);
}

/* ---- the log of requests in flight ---- */

static int inflight_of(struct frontend *fe, const struct vhost_inflight_msg *log, int fd)
{
    (void)frontend_ring_stop(fe, 0, NULL);
    (void)frontend_ring_stop(fe, 1, NULL);
    hostile_send(fe, VHOST_SET_INFLIGHT_FD, log, sizeof(*log), &fd, 1);
    for (unsigned i = 0; i < 2; i++) {
        if (frontend_ring_start(fe, i, hostile_below(65536)) < 0) {
            return -1;
        }
    }
    return 0;
}

static struct vhost_inflight_msg inflight_message(uint64_t bytes, uint64_t offset)
{
    return (struct vhost_inflight_msg){
        .mmap_size = bytes, .mmap_offset = offset, .num_queues = 2, .queue_size = 64};
}

/* Any bytes but for the version, which would give it away. */
static void inflight_lies(struct frontend *fe)
{
    const struct vhost_inflight_msg log = inflight_message(8192, 0);
    uint8_t bytes[8192];
    int fd = memfd_create("hostile", MFD_CLOEXEC);

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(hostile_random() >> 32 & hostile_random());
    }
    memset(bytes, 0, 16);
    bytes[8] = 1;
    bytes[10] = 64;
    if (fd >= 0 && write(fd, bytes, sizeof(bytes)) == sizeof(bytes)) {
        (void)inflight_of(fe, &log, fd);
        hostile_load(fe);
        hostile_kick(&fe->ring[0]);
    }
    close(fd);
}

/* The guest's own memory, ring and all, which a thread flips. */
static void inflight_in_memory(struct frontend *fe)
{
    const struct vhost_inflight_msg log = inflight_message(8192, 0);
    struct flipping flipping;

    hostile_load(fe);
    if (inflight_of(fe, &log, fe->arena.fd) == 0 && flip_start(&flipping, fe->arena.host, 8192)) {
        for (unsigned i = 0; i < 100; i++) {
            hostile_kick(&fe->ring[0]);
        }
        flip_end(&flipping);
    }
}

static void inflight_shrinks(struct frontend *fe)
{
    const struct vhost_inflight_msg log = inflight_message(8192, 0);
    int fd = memfd_create("hostile", MFD_CLOEXEC);

    cut(fd, 8192);
    if (inflight_of(fe, &log, fd) == 0) {
        hostile_load(fe);
    }
    cut(fd, hostile_below(2) * 4096);
    hostile_load(fe);
    hostile_kick(&fe->ring[0]);
    hostile_kick(&fe->ring[1]);
    close(fd);
}

#define RINGS(name, round) \
    {                      \
        name, true, round  \
    }

const struct hostile hostile_rings[] = {
    RINGS("shrink", shrink),
    RINGS("vanish", vanish),
    RINGS("jump", jump),
    RINGS("loop", loop),
    RINGS("flips", flips),
    {"flips-packed", true, flips, .is_packed = true},
    RINGS("noise", noise),
    {"noise-packed", true, noise, .is_packed = true},
    RINGS("kicks", kicks),
    RINGS("call-full", call_full),
    RINGS("overlap", overlap),
    RINGS("nowhere", nowhere),
    {"inflight-lies", true, inflight_lies, .is_tracked = true},
    {"inflight-in-memory", true, inflight_in_memory, .is_tracked = true},
    {"inflight-shrinks", true, inflight_shrinks, .is_tracked = true},
    {0},
};
