/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/guest.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/sim/guest_inside.h"
#include "tests/sim/image.h"

int guest_fd = -1, guest_log_fd = -1;
uint8_t *guest_memory, *guest_log;
struct guest_queue guest_queues[SIM_QUEUES];

/* ---- life ---- */

static int share(const char *name, size_t bytes, uint8_t **at)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    assert(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert(*at != MAP_FAILED);
    return fd;
}

static void begin_ring(unsigned index)
{
    struct guest_queue *q = &guest_queues[index];
    uint64_t offset = GUEST_ADDR - (uintptr_t)guest_memory;

    memset(area_of(index), 0, FRAME_AT);
    if (sim.config.is_packed) {
        ring_driver_init_packed(&q->ring, sim.config.size, area_of(index), offset, q->chain);
    } else {
        ring_driver_init(&q->ring, sim.config.size, RING_DRIVER_MODERN_ALIGN, area_of(index),
                         offset, q->chain);
    }
    q->ring.has_event_idx = sim.config.has_event_idx;
    (void)ring_driver_interrupts(&q->ring, true);
    q->offered = 0;
    q->answered = 0;
    q->must_show = false;
    q->must_kick = false;
    q->takes = false;
}

void guest_begin_anew(unsigned index)
{
    struct guest_queue *q = &guest_queues[index];

    for (unsigned i = 0; i < SLOTS; i++) {
        if (q->slot[i].model.is_pending) {
            model_dropped(&q->slot[i].model);
        }
    }
    q->pending = 0;
    begin_ring(index);
}

static void reset_queue(unsigned index)
{
    struct guest_queue *q = &guest_queues[index];

    for (unsigned i = 0; i < SLOTS; i++) {
        q->slot[i].model.is_pending = false;
        q->slot[i].model.kind = MODEL_READ;
        model_know(&q->slot[i].model);
    }
    q->pending = 0;
    q->is_frozen = false;
    q->behind = 0;
    q->last = MODEL_READ;
    q->kick_fd = kernel_eventfd(sim.config.has_pipes);
    q->call_fd = kernel_eventfd(false);
    begin_ring(index);
}

void guest_reset(void)
{
    if (guest_fd < 0) {
        guest_fd = share("guest", GUEST_BYTES, &guest_memory);
        guest_log_fd = share("log", LOG_BYTES, &guest_log);
    }
    memset(guest_memory, 0, GUEST_BYTES);
    memset(guest_log, 0, LOG_BYTES);
    guest_reset_requests();
    for (unsigned i = 0; i < sim.config.queues; i++) {
        reset_queue(i);
    }
}

/* ---- what its monitor sees ---- */

static uint64_t user_addr(const void *part)
{
    return GUEST_USER + (uint64_t)((const uint8_t *)part - guest_memory);
}

struct ring_addr guest_addr(unsigned index)
{
    const struct ring_driver *ring = &guest_queues[index].ring;

    return (struct ring_addr){.desc = user_addr(ring->desc),
                              .avail = user_addr(ring->avail),
                              .used = user_addr(ring->used)};
}

int guest_kick_fd(unsigned index)
{
    return guest_queues[index].kick_fd;
}

int guest_call_fd(unsigned index)
{
    return guest_queues[index].call_fd;
}

uint32_t guest_used_base(unsigned index)
{
    return load16(&guest_queues[index].ring.used->idx);
}

void guest_freeze(unsigned index)
{
    struct guest_queue *q = &guest_queues[index];

    if (!q->is_frozen) {
        q->is_frozen = true;
        q->is_checked = !image_has_orphans();
        memcpy(q->before, area_of(index), sizeof(q->before));
    }
}

void guest_thaw(unsigned index)
{
    struct guest_queue *q = &guest_queues[index];

    if (q->is_frozen && q->is_checked &&
        memcmp(q->before, area_of(index), sizeof(q->before)) != 0) {
        sim_fail("ring %u: something was stored to memory that was not to be touched", index);
    }
    q->is_frozen = false;
}

/* ---- steps ---- */

enum step { OFFER, SHOW, KICK, INTERRUPT, TAKE, STEPS };

static bool can(const struct guest_queue *q, enum step step)
{
    switch (step) {
    case OFFER:
        return sim.offers > 0;
    case SHOW:
        return q->must_show;
    case KICK:
        return q->must_kick;
    case INTERRUPT:
        return !q->takes && kernel_count(q->call_fd) > 0;
    case TAKE:
    default:
        return q->takes;
    }
}

static void show(struct guest_queue *q)
{
    q->must_show = false;
    q->must_kick |= ring_driver_show(&q->ring);
}

static void take(unsigned index)
{
    struct guest_queue *q = &guest_queues[index];

    if (!guest_take(index)) {
        q->takes = ring_driver_interrupts(&q->ring, true);
    }
}

static void make_step(unsigned index, enum step step)
{
    struct guest_queue *q = &guest_queues[index];

    switch (step) {
    case OFFER:
        guest_offer(index);
        break;
    case SHOW:
        sim_trace("guest: ring %u: shows", index);
        show(q);
        break;
    case KICK:
        sim_trace("guest: ring %u: kicks", index);
        q->must_kick = false;
        kernel_signal(q->kick_fd);
        break;
    case INTERRUPT:
        sim_trace("guest: ring %u: is interrupted", index);
        (void)kernel_take(q->call_fd);
        (void)ring_driver_interrupts(&q->ring, false);
        q->takes = true;
        break;
    case TAKE:
    default:
        take(index);
    }
}

unsigned guest_ready(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < sim.config.queues * STEPS; i++) {
        count += !guest_queues[i / STEPS].is_frozen && can(&guest_queues[i / STEPS], i % STEPS);
    }
    return count;
}

void guest_step(unsigned which)
{
    for (unsigned i = 0; i < sim.config.queues * STEPS; i++) {
        if (!guest_queues[i / STEPS].is_frozen && can(&guest_queues[i / STEPS], i % STEPS) &&
            which-- == 0) {
            make_step(i / STEPS, i % STEPS);
            return;
        }
    }
}
