/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest without a guest: blk_driver over vhost_user_client, in one process.  Keeps requests
 * under way on all rings, each slot writing a pattern and reading it back, until SECONDS have
 * passed and the back-end has come back RETURNS times; it may leave and return meanwhile.
 *
 *   client-load SOCKET QUEUES SECONDS RETURNS
 *
 * Ends with the line "CLIENT OK requests=N reconnects=N sectors=N" or "CLIENT FAIL why".
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/blk_driver.h"
#include "tests/lib/arena.h"
#include "transports/vhost_user_client.h"

#define GUEST 0x100000ull
#define ARENA_BYTES (4u << 20)
#define MAX_QUEUES 8u
#define DEPTH 8u
#define BYTES 4096u
#define PATIENCE_MS 20000u

struct slot {
    struct blk_driver_request request;
    unsigned number;
    uint32_t round;
    uint8_t data[BYTES];
};

struct load {
    struct vhost_user_client *client;
    struct arena arena;
    struct blk_driver *blk; /* in the arena, as the slots are */
    struct blk_driver_queue queue[MAX_QUEUES];
    struct slot *slots;
    int kick[MAX_QUEUES];
    int call[MAX_QUEUES];
    uint8_t status;
    uint64_t done;
};

static void fail(const char *what, const char *why)
{
    printf("CLIENT FAIL %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static uint8_t get_status(void *bus)
{
    return ((struct load *)bus)->status;
}

static void set_status(void *bus, uint8_t status)
{
    struct load *load = bus;
    struct err err = {0};

    for (unsigned i = 0; status == 0 && i < MAX_QUEUES; i++) {
        if (vhost_user_client_ring_stop(load->client, i, NULL, &err) < 0) {
            fail("stop", err.text);
        }
    }
    load->status = status;
}

static uint64_t get_features(void *bus)
{
    return vhost_user_client_features(((struct load *)bus)->client);
}

static void set_features(void *bus, uint64_t features)
{
    struct err err = {0};

    if (vhost_user_client_set_features(((struct load *)bus)->client, features, &err) < 0) {
        fail("features", err.text);
    }
}

static uint32_t generation(void *bus)
{
    (void)bus;
    return 0;
}

static void read_config(void *bus, unsigned offset, void *to, unsigned len)
{
    vhost_user_client_config_read(((struct load *)bus)->client, offset, to, len);
}

static unsigned max_size(void *bus, unsigned index)
{
    return index < vhost_user_client_max_rings(((struct load *)bus)->client) ? 128 : 0;
}

static int set_ring(void *bus, unsigned index, const struct ring_driver *ring)
{
    struct load *load = bus;
    struct err err = {0};
    const struct vhost_user_client_ring set = {
        .size = ring->size,
        .desc = ring_driver_addr(ring, ring->desc),
        .avail = ring_driver_addr(ring, ring->avail),
        .used = ring_driver_addr(ring, ring->used),
        .kick_fd = load->kick[index],
        .call_fd = load->call[index],
        .err_fd = -1,
    };

    if (vhost_user_client_ring_start(load->client, index, &set, &err) < 0) {
        fail("ring", err.text);
    }
    return 0;
}

static void notify(void *bus, unsigned index)
{
    const uint64_t one = 1;

    if (write(((struct load *)bus)->kick[index], &one, sizeof(one)) != sizeof(one)) {
        fail("kick", "not written");
    }
}

static uint64_t now_ms(void *bus)
{
    (void)bus;
    return now_ns() / NS_PER_MS;
}

/* Sleep until a ring calls or the back-end stirs. */
static void relax(void *bus)
{
    struct load *load = bus;
    struct pollfd fds[1 + MAX_QUEUES] = {
        {.fd = vhost_user_client_fd(load->client), .events = POLLIN}};
    uint64_t count;

    for (unsigned i = 0; i < MAX_QUEUES; i++) {
        fds[1 + i] = (struct pollfd){.fd = load->call[i], .events = POLLIN};
    }
    (void)poll(fds, ARRAY_SIZE(fds), 100);
    if (fds[0].revents != 0) {
        vhost_user_client_dispatch(load->client);
    }
    for (unsigned i = 0; i < MAX_QUEUES; i++) {
        if (fds[1 + i].revents != 0 && read(load->call[i], &count, sizeof(count)) < 0) {
            fail("call", "not read");
        }
    }
}

static const struct blk_driver_ops ops = {
    .get_status = get_status,
    .set_status = set_status,
    .get_features = get_features,
    .set_features = set_features,
    .generation = generation,
    .read_config = read_config,
    .max_size = max_size,
    .set_ring = set_ring,
    .notify = notify,
    .now_ms = now_ms,
    .relax = relax,
};

static uint8_t pattern(const struct slot *slot)
{
    return (uint8_t)(slot->number * 7 + slot->round * 13 + 1);
}

static void submit(struct load *load, struct slot *slot, uint32_t type)
{
    slot->request.header.type = type;
    slot->request.header.sector = (uint64_t)slot->number * (BYTES / SECTOR_SIZE);
    slot->request.data = slot->data;
    slot->request.len = BYTES;
    slot->request.arg = slot;
    memset(slot->data, type == VIRTIO_BLK_T_OUT ? pattern(slot) : 0, BYTES);
    if (blk_driver_submit(&load->queue[slot->number / DEPTH], &slot->request) < 0) {
        fail("submit", "ring full");
    }
}

static void finish(struct load *load, struct slot *slot, bool goes_on)
{
    if (slot->request.status != VIRTIO_BLK_S_OK) {
        fail("status", slot->request.status == VIRTIO_BLK_S_IOERR ? "IOERR" : "none");
    }
    load->done++;
    if (slot->request.header.type == VIRTIO_BLK_T_OUT) {
        submit(load, slot, VIRTIO_BLK_T_IN);
        return;
    }
    for (unsigned i = 0; i < BYTES; i++) {
        if (slot->data[i] != pattern(slot)) {
            fail("data", "not what was written");
        }
    }
    slot->round++;
    if (goes_on) {
        submit(load, slot, VIRTIO_BLK_T_OUT);
    }
}

static bool look(struct load *load, bool goes_on)
{
    bool found = false;

    for (unsigned i = 0; i < load->blk->queues; i++) {
        struct blk_driver_request *request;

        while ((request = blk_driver_poll(&load->queue[i]))) {
            finish(load, request->arg, goes_on);
            found = true;
        }
        if (load->queue[i].ring.is_broken) {
            fail("ring", "broken");
        }
        blk_driver_kick(load->blk, &load->queue[i]);
    }
    return found;
}

static bool is_idle(const struct load *load)
{
    for (unsigned i = 0; i < load->blk->queues; i++) {
        if (load->queue[i].ring.free_count < load->queue[i].ring.size) {
            return false;
        }
    }
    return true;
}

static void run(struct load *load, unsigned seconds, unsigned returns)
{
    uint64_t end = now_ns() + seconds * NS_PER_S;
    uint64_t last = now_ns();

    for (unsigned i = 0; i < load->blk->queues * DEPTH; i++) {
        load->slots[i].number = i;
        submit(load, &load->slots[i], VIRTIO_BLK_T_OUT);
    }
    for (;;) {
        bool goes_on = now_ns() < end || vhost_user_client_reconnects(load->client) < returns;

        if (look(load, goes_on)) {
            last = now_ns();
        } else if (!goes_on && is_idle(load)) {
            return;
        } else if (now_ns() - last > PATIENCE_MS * NS_PER_MS) {
            fail("wait", "nothing came");
        } else {
            relax(load);
        }
    }
}

static void *take(struct load *load, uint64_t bytes)
{
    return arena_at(&load->arena, arena_take(&load->arena, bytes, 4096));
}

static void start(struct load *load, const char *socket, unsigned queues)
{
    const struct vhost_user_client_opts client = {.socket = socket};
    struct blk_driver_opts driver = {.ops = &ops,
                                     .bus = load,
                                     .queues = queues,
                                     .queue_size = 64,
                                     .timeout_ms = PATIENCE_MS,
                                     .queue = load->queue};
    struct vhost_user_client_region region = {.guest_addr = GUEST, .size = ARENA_BYTES};
    struct err err = {0};

    arena_init(&load->arena, GUEST, ARENA_BYTES);
    region.host = load->arena.host;
    region.fd = load->arena.fd;
    driver.offset = GUEST - (uintptr_t)load->arena.host;
    driver.ring_memory = take(load, MAX_QUEUES * 16384ull);
    load->blk = take(load, sizeof(*load->blk));
    load->slots = take(load, sizeof(*load->slots) * MAX_QUEUES * DEPTH);
    for (unsigned i = 0; i < MAX_QUEUES; i++) {
        load->kick[i] = eventfd(0, EFD_CLOEXEC);
        load->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (vhost_user_client_open(&load->client, &client, &err) < 0 ||
        vhost_user_client_add_memory(load->client, &region, &err) < 0) {
        fail("connect", err.text);
    }
    if (blk_driver_start(load->blk, &driver) < 0 || load->blk->queues != queues) {
        fail("driver", "does not start with as many rings");
    }
}

int main(int argc, char **argv)
{
    static struct load load;

    if (argc != 5 || atoi(argv[2]) < 1 || atoi(argv[2]) > (int)MAX_QUEUES) {
        fprintf(stderr, "usage: client-load SOCKET QUEUES SECONDS RETURNS\n");
        return 2;
    }
    start(&load, argv[1], (unsigned)atoi(argv[2]));
    printf("CLIENT RUNS\n");
    fflush(stdout);
    run(&load, (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
    if (blk_driver_flush(load.blk) != 0) {
        fail("flush", "refused");
    }
    blk_driver_read_shape(load.blk);
    blk_driver_stop(load.blk);
    printf("CLIENT OK requests=%llu reconnects=%u sectors=%llu\n", (unsigned long long)load.done,
           vhost_user_client_reconnects(load.client), (unsigned long long)load.blk->capacity);
    vhost_user_client_close(load.client);
    arena_fini(&load.arena);
    return EXIT_SUCCESS;
}
