/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/ring_setup.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ring.h>

#include "core/device/lane_finish.h"
#include "core/device/lane_mark.h"

void ring_setup_init(struct ring_setup *r, struct queue *queue, unsigned size_max)
{
    *r = (struct ring_setup){.queue = queue, .size_max = size_max};
}

static void note_told(struct ring_setup *r)
{
    r->queue->is_told = r->has_addr && r->size;
}

static bool is_negotiated(const struct lane_view *view, unsigned bit)
{
    return (view->blk.features & BIT(bit)) != 0;
}

static bool is_packed(const struct ring_setup *r)
{
    return is_negotiated(r->queue->view, VIRTIO_F_RING_PACKED);
}

static int find_parts(struct ring_setup *r, struct ring_parts *parts, struct err *err)
{
    struct err why;
    int ret = ring_find(parts, &r->queue->view->mem, &r->addr, r->size, is_packed(r), &why);

    return ret < 0 ? err_say(err, ret, "ring %u: %s", r->queue->index, why.text) : 0;
}

/*
 * Whoever serves it next finds what it holds in the log of requests in flight.  That stays behind
 * when the guest moves to another host, unless the front-end has said that it takes it along.
 */
static bool is_held_known(const struct ring_setup *r)
{
    const struct queue *q = r->queue;

    return q->ring.layout.inflight.at && (q->is_suspended || !q->view->mem.log.bits);
}

static void tell_suspended(const struct queue *q)
{
    unsigned count = q->ring.held_count;

    if (q->is_suspended && count > 0) {
        log_info("%s: ring %u: stops with %u request%s not answered, for whoever serves it next",
                 q->view->name, q->index, count, count == 1 ? "" : "s");
    }
}

/* Its memory may have moved since the ring was looked at last. */
static void answer_held(struct ring_setup *r, const char *when)
{
    struct queue *q = r->queue;
    unsigned count = q->ring.held_count;
    struct ring_parts parts;
    bool has_memory;

    if (count == 0 || q->ring.is_broken) {
        return;
    }
    has_memory = find_parts(r, &parts, NULL) == 0;
    log_limited(&q->lane->guest_log, LOG_LEVEL_WARN, "%s: ring %u: %s %u request%s held, %s",
                q->view->name, q->index, when, count, count == 1 ? "" : "s",
                has_memory ? "the guest gets I/O errors" : "whose memory is gone");
    if (has_memory) {
        ring_relocate(&q->ring, &parts);
        lane_fail_held(q);
    }
}

void ring_setup_fail_held(struct ring_setup *r)
{
    answer_held(r, "stops with");
}

/* It goes on where it was. */
static void end_ring(struct ring_setup *r)
{
    if (r->queue->ring.is_started) {
        if (is_held_known(r)) {
            tell_suspended(r->queue);
        } else {
            ring_setup_fail_held(r);
        }
        r->base = ring_base(&r->queue->ring);
        r->has_base = true;
    }
    queue_stop(r->queue);
}

void ring_setup_reset(struct ring_setup *r)
{
    struct queue *q = r->queue;
    bool is_outdated = r->is_outdated;

    assert(r->queue->view->parked > 0);
    end_ring(r);
    queue_close_kick(q);
    queue_set_call(q, -1);
    queue_set_err(q, -1);
    queue_init(q, q->view, q->index, q->lane);
    ring_setup_init(r, q, r->size_max);
    r->is_outdated = is_outdated; /* its log is with the front-end */
}

/* Its parts are about to change. */
static int check_stopped(const struct ring_setup *r, struct err *err)
{
    assert(r->queue->view->parked > 0);
    if (r->queue->ring.is_started) {
        return err_say(err, -EBUSY,
                       "ring %u runs: it has to be stopped (GET_VRING_BASE) or disabled first",
                       r->queue->index);
    }
    return 0;
}

int ring_setup_check_log(const struct ring_setup *r, const struct dirty_log *log, struct err *err)
{
    uint64_t bytes = ring_used_bytes(is_packed(r), r->size);

    if (!r->is_logged || !r->size || dirty_log_covers(log, r->log_addr, bytes)) {
        return 0;
    }
    return err_say(err, -EINVAL,
                   "ring %u: its log address 0x%" PRIx64
                   " lies past the end of the log, which has %" PRIu64 " bytes",
                   r->queue->index, r->log_addr, log->bytes);
}

void ring_setup_use_log(struct ring_setup *r)
{
    const struct dirty_log *log = &r->queue->view->mem.log;

    assert(r->queue->view->parked > 0);
    ring_set_log(&r->queue->ring, r->is_logged && log->bits ? log : NULL, r->log_addr);
}

/*
 * Some front-ends say of a packed ring where the next request is, and no more: that is where the
 * next answer goes as well.
 * Source: DPDK 22.11, lib/vhost/vhost_user.c, vhost_user_set_vring_base.
 */
static uint32_t whole_base(const struct ring_setup *r, uint32_t base)
{
    return is_packed(r) && base <= UINT16_MAX ? base << 16 | base : base;
}

/*
 * Where it goes on.  Front-ends that know of split rings only let a driver accept packed ones as
 * well, and say 0.
 * Source: Linux 6.1, arch/um/drivers/virtio_uml.c, vu_setup_vq.
 */
static uint32_t start_base(const struct ring_setup *r, const struct ring_parts *parts)
{
    bool is_fresh = !r->has_base || (r->base == 0 && load16(&parts->packed[0].flags) == 0);

    return is_packed(r) && is_fresh ? RING_PACKED_BASE : whole_base(r, r->base);
}

/* Its driver was served before, and not by us since it connected: as after a migration. */
static void note_start(struct ring_setup *r, uint32_t base)
{
    if (!r->has_started && base != (is_packed(r) ? RING_PACKED_BASE : 0)) {
        blk_doubt(&r->queue->view->blk);
    }
    r->has_started = true;
}

static int check_base(const struct ring_setup *r, uint32_t base, struct err *err)
{
    const char *fault = ring_base_fault(is_packed(r), r->size, base);

    return fault ? err_say(err, -EINVAL, "ring %u: base %u %s", r->queue->index, base, fault) : 0;
}

void ring_setup_outdate(struct ring_setup *r)
{
    assert(r->queue->view->parked > 0);
    r->is_outdated = !r->queue->ring.is_started;
    answer_held(r, "gets another image, or none, with");
}

/* What whoever served it before has not answered is tried again, or is nobody's by now. */
static void use_found(struct ring_setup *r)
{
    struct queue *q = r->queue;
    unsigned count = q->ring.held_count;

    if (r->is_outdated) {
        answer_held(r, "starts, since the disk got another image or none, with");
    } else if (count > 0) {
        log_info("%s: ring %u: tries again %u request%s that whoever served it before has not "
                 "answered",
                 q->view->name, q->index, count, count == 1 ? "" : "s");
    }
    r->is_outdated = false;
}

/* The ring has started, where its log says or at `base`. */
static void has_begun(struct ring_setup *r, uint32_t base)
{
    struct queue *q = r->queue;
    const struct lane_view *view = q->view;

    ring_setup_use_log(r);
    note_start(r, base);
    queue_forget_told(q);
    log_debug("%s: ring %u: starts at %u, size %u", view->name, q->index, ring_base(&q->ring),
              r->size);
    use_found(r);
    if (mem_is_lost(&view->mem)) {
        ring_break(&q->ring, mem_why_lost(&view->mem));
    }
    if (q->ring.is_broken) {
        queue_tell_fault(q);
    }
    lane_look(q->lane, q->index);
}

/* Start the ring if all its parts are there; it is no error when some are still to come. */
static int start_if_complete(struct ring_setup *r, struct err *err)
{
    struct queue *q = r->queue;
    struct lane_view *view = q->view;
    struct ring_layout layout = {
        .size = r->size,
        .is_packed = is_packed(r),
        .has_event_idx = is_negotiated(view, VIRTIO_RING_F_EVENT_IDX),
        .has_indirect = is_negotiated(view, VIRTIO_RING_F_INDIRECT_DESC),
        .is_in_order = is_negotiated(view, VIRTIO_F_IN_ORDER),
        .slot_size = sizeof(struct request),
        .slot_iovs = BLK_SLOT_IOVS,
        .arrays = &q->lane->arrays,
        .inflight = r->inflight,
    };
    int ret;

    if (q->ring.is_started || !r->size || !r->has_addr || !q->kick || !view->mem.count) {
        return 0;
    }
    ret = find_parts(r, &layout.parts, err);
    if (ret == 0 && view->mem.log.bits) {
        ret = ring_setup_check_log(r, &view->mem.log, err);
    }
    if (ret == 0) {
        layout.base = start_base(r, &layout.parts);
        ret = check_base(r, layout.base, err);
    }
    if (ret < 0) {
        return ret;
    }
    ret = ring_start(&q->ring, &layout, &view->mem);
    if (ret < 0) {
        return err_set(err, ret, "ring %u: request slots", q->index);
    }
    has_begun(r, layout.base);
    return 0;
}

/* Its other parts came before the memory that they lie in. */
static void start_late(struct ring_setup *r)
{
    struct err err;

    if (start_if_complete(r, &err) < 0) {
        log_limited(&r->queue->lane->guest_log, LOG_LEVEL_WARN, "%s: %s, ring not started",
                    r->queue->view->name, err.text);
    }
}

void ring_setup_remap(struct ring_setup *r)
{
    struct queue *q = r->queue;
    struct ring_parts parts;
    struct err err;

    assert(r->queue->view->parked > 0);
    if (!q->ring.is_started) {
        start_late(r);
        return;
    }
    if (find_parts(r, &parts, &err) < 0) {
        ring_break(&q->ring, "its memory is no longer shared");
        queue_tell_fault(q);
        end_ring(r);
        return;
    }
    ring_relocate(&q->ring, &parts);
}

int ring_setup_size(struct ring_setup *r, unsigned size, struct err *err)
{
    int ret = check_stopped(r, err);
    unsigned index = r->queue->index;

    if (ret < 0) {
        return ret;
    }
    if (!is_power_of_2(size) || size > RING_MAX_SIZE) {
        return err_say(err, -EINVAL, "ring %u: size %u is no power of two up to %u", index, size,
                       RING_MAX_SIZE);
    }
    if (size > r->size_max) {
        err_say(err, -EINVAL, "ring %u: size %u, but the disk was added with --queue-size %u",
                index, size, r->size_max);
        err_hint(err, "remove it and add it again with --queue-size %u, or without", size);
        return -EINVAL;
    }
    r->size = size;
    note_told(r);
    return start_if_complete(r, err);
}

int ring_setup_addr(struct ring_setup *r, const struct ring_addr *addr, struct err *err)
{
    struct ring_parts parts;
    int ret = check_stopped(r, err);

    if (ret < 0) {
        return ret;
    }
    r->addr = *addr;
    r->has_addr = false;
    note_told(r);
    if (r->size && r->queue->view->mem.count) {
        ret = find_parts(r, &parts, err);
        if (ret < 0) {
            return ret;
        }
    }
    r->has_addr = true;
    note_told(r);
    return start_if_complete(r, err);
}

int ring_setup_log(struct ring_setup *r, bool on, uint64_t addr, struct err *err)
{
    const struct dirty_log *log = &r->queue->view->mem.log;
    struct ring_setup wanted = *r;
    int ret;

    wanted.is_logged = on;
    wanted.log_addr = addr;
    ret = log->bits ? ring_setup_check_log(&wanted, log, err) : 0;
    if (ret == 0) {
        *r = wanted;
        ring_setup_use_log(r);
    }
    return ret;
}

/* For a ring that runs: where it is. */
static bool is_at(const struct ring_setup *r, uint32_t base)
{
    return r->queue->ring.is_started && ring_base(&r->queue->ring) == whole_base(r, base);
}

void ring_setup_forget_inflight(const struct ring_setup *r)
{
    if (r->has_started && !r->queue->ring.is_started &&
        r->inflight.bytes >= ring_inflight_bytes(is_packed(r), 1)) {
        ring_inflight_forget(&r->inflight);
    }
}

/*
 * A ring that was stopped here and is to begin elsewhere is another one, as after a reset of its
 * queue: of that the log of requests in flight knows nothing.
 * Source: VIRTIO 1.2, 2.6.1 "Virtqueue Reset".
 */
static void forget_other_ring(const struct ring_setup *r, uint32_t base)
{
    uint32_t told = base <= UINT16_MAX ? UINT16_MAX : UINT32_MAX; /* see whole_base */

    if (((base ^ r->base) & told) != 0) {
        ring_setup_forget_inflight(r);
    }
}

int ring_setup_base(struct ring_setup *r, uint32_t base, struct err *err)
{
    int ret = is_at(r, base) ? 0 : check_stopped(r, err);

    if (ret == 0 && (r->size || !is_packed(r))) {
        ret = check_base(r, whole_base(r, base), err);
    }
    if (ret == 0) {
        forget_other_ring(r, base);
        r->base = base;
        r->has_base = true;
    }
    return ret;
}

int ring_setup_kick(struct ring_setup *r, int fd, struct err *err)
{
    struct queue *q = r->queue;
    int ret = queue_open_kick(q, fd, err);

    if (ret < 0) {
        return ret;
    }
    ret = start_if_complete(r, err);
    if (ret < 0) {
        queue_close_kick(q);
        return ret;
    }
    queue_own_kick(q);
    if (q->ring.is_started) {
        lane_look(q->lane, q->index);
    }
    return 0;
}

void ring_setup_renew(struct ring_setup *r)
{
    assert(r->queue->view->parked > 0);
    end_ring(r);
    queue_close_kick(r->queue);
    r->queue->is_paused = false;
    r->queue->is_suspended = false;
}
