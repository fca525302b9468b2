/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/frontend.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* A status that no device writes: shows a request that was answered without one. */
#define STATUS_UNWRITTEN 0xee

static bool device_writes(uint32_t type)
{
    return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

struct frontend_request *frontend_prepare(struct frontend_ring *ring, uint32_t type,
                                          uint64_t sector, uint32_t len)
{
    struct frontend_request *request = ring->free;
    struct virtio_blk_outhdr *header;

    if (!request) {
        return NULL;
    }
    assert(len <= ring->fe->opts.request_bytes);
    ring->free = request->next;
    request->type = type;
    request->len = len;
    header = arena_at(&ring->fe->arena, request->header_addr);
    *header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    *(uint8_t *)arena_at(&ring->fe->arena, request->status_addr) = STATUS_UNWRITTEN;
    return request;
}

void frontend_put(struct frontend_request *request)
{
    struct frontend_ring *ring = request->ring;
    struct piece pieces[3];
    unsigned count = 0;

    pieces[count++] = piece_out(request->header_addr, sizeof(struct virtio_blk_outhdr));
    if (request->len > 0) {
        pieces[count++] = device_writes(request->type)
                              ? piece_in(request->data_addr, request->len)
                              : piece_out(request->data_addr, request->len);
    }
    pieces[count++] = piece_in(request->status_addr, 1);
    request->head = frontend_has(ring->fe, VIRTIO_RING_F_INDIRECT_DESC)
                        ? driver_chain_indirect(&ring->drv, pieces, count, 0, request->table_addr)
                        : driver_chain(&ring->drv, pieces, count);
    ring->by_head[request->head] = request;
    ring->inflight++;
    request->start_ns = now_ns();
    driver_put(&ring->drv, request->head);
}

void frontend_kick(struct frontend_ring *ring)
{
    uint64_t one = 1;
    uint16_t old_idx = ring->drv.shown_idx;

    driver_show(&ring->drv);
    if (driver_must_kick(&ring->drv, old_idx)) {
        ssize_t ret = write(ring->kick_fd, &one, sizeof(one));

        assert(ret == sizeof(one));
    }
}

struct frontend_request *frontend_reap(struct frontend_ring *ring)
{
    struct frontend_request *request;
    struct used used;

    if (!driver_reap(&ring->drv, &used)) {
        return NULL;
    }
    assert(used.id < ring->drv.size && ring->by_head[used.id]);
    request = ring->by_head[used.id];
    ring->by_head[used.id] = NULL;
    ring->inflight--;
    request->used_len = used.len;
    request->status = *(uint8_t *)arena_at(&ring->fe->arena, request->status_addr);
    return request;
}

void frontend_release(struct frontend_request *request)
{
    request->next = request->ring->free;
    request->ring->free = request;
}

/* Ask for an interrupt at the next used element, and see whether it is there already. */
static bool has_used(struct frontend_ring *ring)
{
    driver_set_used_event(&ring->drv, ring->drv.last_used);
    return driver_used_count(&ring->drv) > 0;
}

static void drain_call_fd(struct frontend_ring *ring)
{
    uint64_t count;

    if (read(ring->call_fd, &count, sizeof(count)) == sizeof(count)) {
        ring->calls += count;
    }
}

int frontend_wait(struct frontend *fe, int timeout_ms)
{
    struct pollfd fds[FRONTEND_MAX_RINGS];
    uint64_t deadline_ns = now_ns() + (uint64_t)timeout_ms * NS_PER_MS;

    for (;;) {
        uint64_t now = now_ns();
        bool is_ready = false;

        for (unsigned i = 0; i < fe->opts.queues; i++) {
            drain_call_fd(&fe->ring[i]);
            fds[i] = (struct pollfd){.fd = fe->ring[i].call_fd, .events = POLLIN};
            is_ready |= has_used(&fe->ring[i]);
        }
        if (is_ready) {
            return 0;
        }
        if (now >= deadline_ns) {
            return -ETIMEDOUT;
        }
        if (poll(fds, fe->opts.queues, (int)((deadline_ns - now) / NS_PER_MS) + 1) < 0 &&
            errno != EINTR) {
            return -errno;
        }
    }
}

int frontend_do(struct frontend_ring *ring, uint32_t type, uint64_t sector, void *data,
                uint32_t len)
{
    struct frontend_request *request = frontend_prepare(ring, type, sector, len);
    struct frontend_request *done;
    uint64_t deadline_ns = now_ns() + FRONTEND_TIMEOUT_MS * NS_PER_MS;
    int status;

    if (!request) {
        return -EBUSY;
    }
    if (!device_writes(type) && len > 0) {
        memcpy(request->data, data, len);
    }
    frontend_put(request);
    frontend_kick(ring);
    do {
        if (frontend_wait(ring->fe, FRONTEND_TIMEOUT_MS) < 0 || now_ns() > deadline_ns) {
            return -ETIMEDOUT;
        }
        done = frontend_reap(ring);
        if (done && done != request) {
            frontend_release(done);
        }
    } while (done != request);
    if (device_writes(type) && len > 0) {
        memcpy(data, request->data, len);
    }
    status = request->status;
    frontend_release(request);
    return status;
}
