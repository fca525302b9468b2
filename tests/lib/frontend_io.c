/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "tests/lib/frontend.h"

static bool device_writes(uint32_t type)
{
    return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
}

struct frontend_request *frontend_prepare(struct frontend_ring *ring, uint32_t type,
                                          uint64_t sector, uint32_t len)
{
    struct frontend_request *request = ring->free;

    if (!request) {
        return NULL;
    }
    assert(len <= ring->fe->opts.request_bytes);
    ring->free = request->next;
    *request->blk = (struct blk_driver_request){
        .frame = request->blk->frame,
        .header = {.type = type, .sector = sector},
        .data = request->data,
        .len = len,
        .arg = request,
    };
    return request;
}

void frontend_put(struct frontend_request *request)
{
    int ret = blk_driver_submit(request->ring->queue, request->blk);

    assert(ret == 0);
    (void)ret;
    request->ring->inflight++;
}

void frontend_kick(struct frontend_ring *ring)
{
    blk_driver_kick(&ring->fe->blk, ring->queue);
}

struct frontend_request *frontend_reap(struct frontend_ring *ring)
{
    struct blk_driver_request *blk = blk_driver_poll(ring->queue);

    assert(!ring->drv->fault);
    if (!blk) {
        return NULL;
    }
    ring->inflight--;
    return blk->arg;
}

void frontend_release(struct frontend_request *request)
{
    request->next = request->ring->free;
    request->ring->free = request;
}

/* Serve the connection, too, when it is followed. */
static int sleep_until(struct frontend *fe, uint64_t timeout_ms)
{
    struct pollfd fds[VHOST_USER_CLIENT_MAX_RINGS + 1];
    unsigned count = fe->opts.queues;

    for (unsigned i = 0; i < fe->opts.queues; i++) {
        fds[i] = (struct pollfd){.fd = fe->ring[i].fds->call, .events = POLLIN};
    }
    if (fe->opts.follows) {
        fds[count++] =
            (struct pollfd){.fd = vhost_user_client_fd(fe->bus.client), .events = POLLIN};
    }
    if (poll(fds, count, (int)timeout_ms) < 0 && errno != EINTR) {
        return -errno;
    }
    if (fe->opts.follows && fds[count - 1].revents != 0) {
        vhost_user_client_dispatch(fe->bus.client);
    }
    return 0;
}

int frontend_wait(struct frontend *fe, int timeout_ms)
{
    uint64_t deadline_ns = now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    eventfd_t signals;
    int ret = 0;

    while (ret == 0) {
        uint64_t now = now_ns();
        bool has_some = false;

        for (unsigned i = 0; i < fe->opts.queues; i++) {
            (void)eventfd_read(fe->ring[i].fds->call, &signals); /* none is fine */
            has_some = ring_driver_interrupts(fe->ring[i].drv, true) || has_some;
        }
        if (has_some) {
            return 0;
        }
        for (unsigned i = 0; i < fe->opts.queues; i++) {
            frontend_kick(&fe->ring[i]); /* if it asks for one only now */
        }
        ret = now < deadline_ns ? sleep_until(fe, (deadline_ns - now) / NS_PER_MS + 1) : -ETIMEDOUT;
    }
    return ret;
}

int frontend_do(struct frontend_ring *ring, uint32_t type, uint64_t sector, void *data,
                uint32_t len)
{
    struct frontend_request *request = frontend_prepare(ring, type, sector, len);
    struct frontend_request *done;
    uint64_t deadline_ns = now_ns() + FRONTEND_TIMEOUT_MS * NS_PER_MS;

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
    frontend_release(request);
    return request->blk->status;
}
