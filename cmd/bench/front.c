/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/front.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/log.h"

/* Where the guest's memory begins; any address is as good, but for alignment. */
#define GUEST_ADDR 0x40000000ull

#define PAGE_BYTES 4096u

/* What QEMU's vhost-user-blk has, if the depth needs no more. */
#define RING_SIZE 128u

/* ---- waiting ---- */

bool front_interrupts_on(struct front *front)
{
    bool has_some = false;

    for (unsigned i = 0; i < front->queues; i++) {
        has_some = ring_driver_interrupts(&front->queue[i].ring, true) || has_some;
    }
    for (unsigned i = 0; !has_some && i < front->queues; i++) {
        blk_driver_kick(&front->blk, &front->queue[i]); /* if it asks for one only now */
    }
    return has_some;
}

void front_interrupts_off(struct front *front)
{
    for (unsigned i = 0; i < front->queues; i++) {
        (void)ring_driver_interrupts(&front->queue[i].ring, false); /* the caller looks anyway */
    }
}

/* The call fds are watched edge-triggered, so that nobody has to read them. */
void front_sleep(struct front *front, uint64_t timeout_ns)
{
    const struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / NS_PER_S),
                                     .tv_nsec = (long)(timeout_ns % NS_PER_S)};
    struct epoll_event events[8];
    int count = epoll_pwait2(front->epoll_fd, events, ARRAY_SIZE(events), &timeout, NULL);

    if (count < 0 && errno == ENOSYS) { /* Linux before 5.11, valgrind: later by up to 1 ms */
        int timeout_ms = (int)((timeout_ns + NS_PER_MS - 1) / NS_PER_MS);

        count = epoll_wait(front->epoll_fd, events, ARRAY_SIZE(events), timeout_ms);
    }
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == front->bus.client) {
            vhost_user_client_dispatch(front->bus.client);
        }
    }
}

uint64_t front_interrupts(struct front *front)
{
    eventfd_t count;

    for (unsigned i = 0; i < front->queues; i++) {
        if (eventfd_read(front->bus.fds[i].call, &count) == 0) {
            front->interrupts += count;
        }
    }
    return front->interrupts;
}

uint64_t front_kicks(const struct front *front)
{
    uint64_t kicks = 0;

    for (unsigned i = 0; i < front->queues; i++) {
        kicks += front->queue[i].kicks;
    }
    return kicks;
}

/* ---- open and close ---- */

static void on_gone(void *arg, const struct err *why)
{
    struct front *front = arg;

    log_warn("%s: %s; waiting until it is back", front->name, err_text_after(why, front->name));
}

static void on_retry_failed(void *arg, const struct err *why)
{
    struct front *front = arg;

    log_warn("%s: still away: %s", front->name, err_text_after(why, front->name));
}

static void on_back(void *arg)
{
    struct front *front = arg;

    log_warn("%s: back", front->name);
}

static int watch(struct front *front, int fd, uint32_t events, void *what, struct err *err)
{
    struct epoll_event event = {.events = events, .data.ptr = what};

    return epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0
               ? err_set(err, -errno, "%s: epoll", front->name)
               : 0;
}

static int watch_all(struct front *front, struct err *err)
{
    struct vhost_user_client *client = front->bus.client;
    int ret = watch(front, vhost_user_client_fd(client), EPOLLIN, client, err);

    for (unsigned i = 0; ret == 0 && i < front->queues; i++) {
        ret = watch(front, front->bus.fds[i].call, EPOLLIN | EPOLLET, NULL, err);
    }
    return ret;
}

/* Where things lie in shared memory, as offsets. */
struct plan {
    uint64_t rings;
    uint64_t ring_bytes; /* of each */
    uint64_t frames;
    uint64_t frame_bytes; /* of each */
    uint64_t data;
    uint64_t data_bytes;
    uint64_t end;
};

static struct plan make_plan(const struct bench_options *options,
                             const struct blk_driver_opts *driver)
{
    uint64_t slots = (uint64_t)options->queues * options->depth;
    struct plan plan = {
        .ring_bytes = blk_driver_ring_bytes(driver),
        .frame_bytes = round_up(sizeof(struct blk_driver_frame), CACHE_LINE),
        .data_bytes = round_up(options->block_bytes, PAGE_BYTES),
    };

    plan.frames = plan.ring_bytes * options->queues;
    plan.data = round_up(plan.frames + plan.frame_bytes * slots, SHARED_ALIGN);
    plan.end = round_up(plan.data + plan.data_bytes * slots, SHARED_ALIGN);
    return plan;
}

static int share_memory(struct front *front, struct err *err)
{
    const struct vhost_user_client_region region = {
        .guest_addr = GUEST_ADDR,
        .size = front->shared.bytes,
        .host = front->shared.memory,
        .fd = front->shared.fd,
    };

    return vhost_user_client_add_memory(front->bus.client, &region, err);
}

static int make_slots(struct front *front, const struct plan *plan, struct err *err)
{
    size_t count = (size_t)front->queues * front->depth;

    assert(count > 0); /* options say so */
    front->slots = calloc(count, sizeof(*front->slots));
    if (!front->slots) {
        return err_set(err, -ENOMEM, "%s: %zu requests", front->name, count);
    }
    for (size_t i = 0; i < count; i++) {
        struct front_slot *slot = &front->slots[i];
        uint8_t *frame = front->shared.memory + plan->frames + plan->frame_bytes * i;

        memset(frame, 0, plan->frame_bytes);
        slot->request = (struct blk_driver_request){
            .frame = (struct blk_driver_frame *)frame,
            .data = front->shared.memory + plan->data + plan->data_bytes * i,
            .arg = slot,
        };
    }
    return 0;
}

/* `max` is the back-end's, 0: not known. */
static unsigned largest_ring(unsigned max)
{
    unsigned size = BLK_DRIVER_MAX_SIZE;

    while (max > 0 && size > max) {
        size /= 2;
    }
    return size;
}

/* As many descriptors as the depth needs, as far as they are allowed. */
static unsigned ring_size(const struct front *front, unsigned depth, unsigned max)
{
    uint64_t features = vhost_user_client_features(front->bus.client);
    bool is_indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
    unsigned size = RING_SIZE;

    while (size < depth * (is_indirect ? 1 : BLK_DRIVER_PIECES) && size < BLK_DRIVER_MAX_SIZE) {
        size *= 2;
    }
    return min_of(size, largest_ring(max));
}

static int explain_start(const struct front *front, int fault, struct err *err)
{
    if (front->bus.err.code < 0) {
        *err = front->bus.err;
        return err->code;
    }
    if (!(vhost_user_client_features(front->bus.client) >> VIRTIO_F_VERSION_1 & 1)) {
        return err_say(err, -ENOTSUP, "%s: the back-end has no VIRTIO_F_VERSION_1", front->name);
    }
    return err_say(err, -EIO, "%s: the disk does not start (fault %d)", front->name, fault);
}

static int check_depth(const struct front *front, struct err *err)
{
    const struct blk_driver_queue *queue = &front->queue[0];
    unsigned room = queue->ring.size / (queue->is_indirect ? 1 : BLK_DRIVER_PIECES);

    if (front->blk.queues < front->queues) {
        return err_say(err, -EINVAL, "%s: the disk has %u queues, not %u; --queues takes fewer",
                       front->name, front->blk.queues, front->queues);
    }
    if (room < front->depth) {
        return err_say(err, -EINVAL,
                       "%s: its rings hold %u requests, not %u; --iodepth takes fewer", front->name,
                       room, front->depth);
    }
    return 0;
}

static int start_driver(struct front *front, struct blk_driver_opts *driver,
                        const struct plan *plan, struct err *err)
{
    int fault;

    front->queue = calloc(front->queues, sizeof(*front->queue));
    if (!front->queue) {
        return err_set(err, -ENOMEM, "%s: queues", front->name);
    }
    driver->queue = front->queue;
    driver->ring_memory = front->shared.memory + plan->rings;
    driver->offset = GUEST_ADDR - (uintptr_t)front->shared.memory;
    front->is_started = true;
    fault = blk_driver_start(&front->blk, driver);
    return fault < 0 ? explain_start(front, fault, err) : check_depth(front, err);
}

static int check_queues(const struct front *front, struct err *err)
{
    unsigned most = vhost_user_client_max_rings(front->bus.client);

    return front->queues > most
               ? err_say(err, -EINVAL, "%s: the disk has %u queues, not %u; --queues takes fewer",
                         front->name, most, front->queues)
               : 0;
}

/* Before anything is set up, as the driver would go on without. */
static int check_packed(const struct front *front, const struct bench_options *options,
                        struct err *err)
{
    uint64_t features = vhost_user_client_features(front->bus.client);

    return options->is_packed && !(features & BIT(VIRTIO_F_RING_PACKED))
               ? err_say(err, -ENOTSUP,
                         "%s: the back-end does not offer packed rings and an in-flight region "
                         "for them; leave out --packed",
                         front->name)
               : 0;
}

/* A back-end that answers nothing would not answer the stop either. */
void front_close(struct front *front)
{
    if (front->is_started && !front->is_stuck) {
        vhost_user_client_limit(front->bus.client, "end of all queues");
        blk_driver_stop(&front->blk);
    }
    vhost_user_bus_fini(&front->bus);
    shared_close(&front->shared);
    close(front->epoll_fd);
    free(front->queue);
    free(front->slots);
}

/* Connected: from memory to a driver that runs. */
static int set_up(struct front *front, const struct bench_options *options, unsigned ring_size_max,
                  struct err *err)
{
    struct blk_driver_opts driver = {.ops = &vhost_user_bus_ops,
                                     .bus = &front->bus,
                                     .queues = options->queues,
                                     .is_indirect = true,
                                     .is_packed = options->is_packed,
                                     .timeout_ms = VHOST_USER_CLIENT_TIMEOUT_MS};
    struct plan plan = make_plan(options, &driver);
    int ret = check_queues(front, err);

    if (ret == 0) {
        ret = check_packed(front, options, err);
    }
    if (ret == 0) {
        ret = watch_all(front, err);
    }
    if (ret == 0) {
        ret = shared_open(&front->shared, plan.end, options->has_huge_pages, err);
    }
    if (ret == 0) {
        ret = share_memory(front, err);
    }
    if (ret == 0) {
        ret = make_slots(front, &plan, err);
    }
    if (ret == 0) {
        driver.queue_size = ring_size(front, options->depth, ring_size_max);
        ret = start_driver(front, &driver, &plan, err);
    }
    return ret;
}

int front_open(struct front *front, const struct bench_options *options, const char *socket,
               unsigned ring_size_max, struct err *err)
{
    uint64_t timeout_ms =
        min_of(options->timeout_ns / NS_PER_MS + 1, (uint64_t)VHOST_USER_CLIENT_TIMEOUT_MS);
    const struct vhost_user_client_opts client = {
        .socket = socket,
        .timeout_ms = (unsigned)timeout_ms,
        .rings = options->queues,
        .ring_size = (uint16_t)largest_ring(ring_size_max),
        .stop_patience = 1, /* nothing is under way then */
        .gone = on_gone,
        .retry_failed = on_retry_failed,
        .back = on_back,
        .arg = front,
    };
    int ret;

    memset(front, 0, sizeof(*front));
    front->name = options->disk;
    front->queues = options->queues;
    front->depth = options->depth;
    front->shared.fd = -1;
    front->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    ret = front->epoll_fd < 0 ? err_set(err, -errno, "%s: epoll", front->name)
                              : vhost_user_bus_init(&front->bus, front->queues, false, err);
    if (ret == 0) {
        ret = vhost_user_client_open(&front->bus.client, &client, err);
    }
    if (ret == 0) {
        vhost_user_client_limit(front->bus.client, "set-up of all queues");
        ret = set_up(front, options, ring_size_max, err);
        vhost_user_client_limit(front->bus.client, NULL);
    }
    if (ret < 0) {
        front_close(front);
    }
    return ret;
}
