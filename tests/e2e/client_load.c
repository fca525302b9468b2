/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest without a guest: blk_driver over vhost_user_client, in one process.  Keeps requests
 * under way on all rings, each slot writing a pattern and reading it back, until SECONDS have
 * passed and the back-end has come back RETURNS times, or SIGTERM has come; it may leave and
 * return meanwhile.
 *
 *   client-load SOCKET QUEUES SECONDS RETURNS [packed]
 *
 * Prints "CLIENT SECTORS N" when the disk's size has changed, and at its end "CLIENT OK requests=N
 * reconnects=N sectors=N" or "CLIENT FAIL why".
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/frontend.h"

#define MAX_QUEUES 8u
#define DEPTH 8u
#define BYTES 4096u
#define PATIENCE_MS 20000

/* A place on the disk, one request of a ring at a time. */
struct slot {
    unsigned number;
    uint32_t round;
};

struct load {
    struct frontend fe;
    struct slot slots[MAX_QUEUES * DEPTH];
    uint64_t done;
};

static void fail(const char *what, const char *why)
{
    printf("CLIENT FAIL %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static uint8_t pattern(const struct slot *slot)
{
    return (uint8_t)(slot->number * 7 + slot->round * 13 + 1);
}

static void submit(struct load *load, const struct slot *slot, uint32_t type)
{
    struct frontend_request *request =
        frontend_prepare(&load->fe.ring[slot->number / DEPTH], type,
                         (uint64_t)slot->number * (BYTES / SECTOR_SIZE), BYTES);

    if (!request) {
        fail("submit", "ring full");
    }
    memset(request->data, type == VIRTIO_BLK_T_OUT ? pattern(slot) : 0, BYTES);
    frontend_put(request);
}

static void check(const struct slot *slot, const struct frontend_request *request)
{
    const uint8_t *data = request->data;

    if (request->blk->status != VIRTIO_BLK_S_OK) {
        fail("status", request->blk->status == VIRTIO_BLK_S_IOERR ? "IOERR" : "none");
    }
    for (unsigned i = 0; i < BYTES; i++) {
        if (data[i] != pattern(slot)) {
            fail("data", "not what was written");
        }
    }
}

static void finish(struct load *load, struct frontend_request *request, bool goes_on)
{
    struct slot *slot = &load->slots[request->blk->header.sector / (BYTES / SECTOR_SIZE)];
    uint32_t type = request->blk->header.type;

    check(slot, request);
    frontend_release(request);
    load->done++;
    if (type == VIRTIO_BLK_T_OUT) {
        submit(load, slot, VIRTIO_BLK_T_IN);
        return;
    }
    slot->round++;
    if (goes_on) {
        submit(load, slot, VIRTIO_BLK_T_OUT);
    }
}

/* Returns how many requests are under way. */
static unsigned look(struct load *load, bool goes_on)
{
    unsigned inflight = 0;

    for (unsigned i = 0; i < load->fe.opts.queues; i++) {
        struct frontend_ring *ring = &load->fe.ring[i];
        struct frontend_request *request;

        while ((request = frontend_reap(ring))) {
            finish(load, request, goes_on);
        }
        frontend_kick(ring);
        inflight += ring->inflight;
    }
    return inflight;
}

static volatile sig_atomic_t is_ended;

static void on_term(int sig)
{
    is_ended = 1;
}

static void look_at_size(struct blk_driver *blk)
{
    uint64_t before = blk->capacity;

    blk_driver_read_shape(blk);
    if (blk->capacity != before) {
        printf("CLIENT SECTORS %llu\n", (unsigned long long)blk->capacity);
        fflush(stdout);
    }
}

static void run(struct load *load, unsigned seconds, unsigned returns)
{
    uint64_t end = now_ns() + seconds * NS_PER_S;
    bool goes_on = true;

    for (unsigned i = 0; i < load->fe.opts.queues * DEPTH; i++) {
        load->slots[i].number = i;
        submit(load, &load->slots[i], VIRTIO_BLK_T_OUT);
    }
    while (look(load, goes_on) > 0) {
        if (frontend_wait(&load->fe, PATIENCE_MS) < 0) {
            fail("wait", "nothing came");
        }
        look_at_size(&load->fe.blk);
        goes_on = !is_ended &&
                  (now_ns() < end || vhost_user_client_reconnects(load->fe.bus.client) < returns);
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    struct frontend *fe = &load.fe;
    struct frontend_opts opts = {.queue_size = 64,
                                 .depth = DEPTH,
                                 .request_bytes = BYTES,
                                 .is_packed = argc == 6 && strcmp(argv[5], "packed") == 0,
                                 .is_tracked = true,
                                 .follows = true};

    if (argc < 5 || argc > 5 + opts.is_packed || atoi(argv[2]) < 1 ||
        atoi(argv[2]) > (int)MAX_QUEUES) {
        fprintf(stderr, "usage: client-load SOCKET QUEUES SECONDS RETURNS [packed]\n");
        return 2;
    }
    signal(SIGTERM, on_term);
    opts.socket = argv[1];
    opts.queues = (unsigned)atoi(argv[2]);
    frontend_init(fe, &opts);
    if (frontend_start(fe) < 0) {
        fail("start", fe->bus.err.text);
    }
    printf("CLIENT RUNS\n");
    fflush(stdout);
    run(&load, (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
    if (frontend_do(&fe->ring[0], VIRTIO_BLK_T_FLUSH, 0, NULL, 0) != 0) {
        fail("flush", "refused");
    }
    blk_driver_stop(&fe->blk);
    if (fe->bus.err.code < 0) {
        fail("stop", fe->bus.err.text);
    }
    printf("CLIENT OK requests=%llu reconnects=%u sectors=%llu\n", (unsigned long long)load.done,
           vhost_user_client_reconnects(fe->bus.client), (unsigned long long)fe->blk.capacity);
    frontend_fini(fe);
    return EXIT_SUCCESS;
}
