/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * frontend-hold SOCKET [WRITES [blind|broken|writethrough]]: connect to a disk, send it WRITES
 * writes of 4096 bytes, the first at offset 8192, print "ready", then "status N" for each that is
 * answered; stay connected until killed.  For tests of what happens to a disk that is in use. blind
 * kick now and then, with nothing to be seen, as a guest does whose memory is not shared broken
 * offer a head that there is not writethrough  switch the write cache off before that, and connect
 * anew for as long as it lives
 */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/frontend.h"
#include "tests/lib/raw_ring.h"

#define DATA_BYTES 4096
#define FIRST_SECTOR 16

static void put_writes(struct frontend_ring *ring, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct frontend_request *request =
            frontend_prepare(ring, VIRTIO_BLK_T_OUT, FIRST_SECTOR + i * 8, DATA_BYTES);

        if (!request) {
            errx(EXIT_FAILURE, "no room for request %u", i);
        }
        frontend_put(request);
    }
    frontend_kick(ring);
}

static void print_answered(struct frontend_ring *ring)
{
    struct frontend_request *request;

    while ((request = frontend_reap(ring))) {
        printf("status %u\n", request->blk->status);
        frontend_release(request);
    }
    (void)fflush(stdout);
}

static void kick(const struct frontend_ring *ring)
{
    uint64_t one = 1;

    if (write(ring->fds->kick, &one, sizeof(one)) < 0) {
        err(EXIT_FAILURE, "kick");
    }
}

/* Once: no front-end says it again. */
static void switch_to_writethrough(struct frontend *fe)
{
    const uint8_t off = 0;

    if (vhost_user_client_config_write(fe->bus.client, offsetof(struct virtio_blk_config, wce),
                                       &off, sizeof(off), &fe->bus.err) < 0) {
        errx(EXIT_FAILURE, "%s", fe->bus.err.text);
    }
}

int main(int argc, char **argv)
{
    const char *manner = argc > 3 ? argv[3] : "";
    bool switches = strcmp(manner, "writethrough") == 0;
    static struct frontend fe;
    const struct frontend_opts opts = {
        .socket = argc > 1 ? argv[1] : "",
        .queues = 1,
        .queue_size = 128,
        .depth = 64,
        .request_bytes = DATA_BYTES,
        .accept = switches ? BIT(VIRTIO_BLK_F_CONFIG_WCE) : 0,
        .follows = switches,
    };
    unsigned writes = argc > 2 ? (unsigned)atoi(argv[2]) : 0;

    frontend_init(&fe, &opts);
    if (frontend_start(&fe) < 0) {
        errx(EXIT_FAILURE, "%s", fe.bus.err.text);
    }
    if (strcmp(manner, "broken") == 0) {
        raw_ring_offer(fe.ring[0].drv, 60000);
        kick(&fe.ring[0]);
    }
    if (switches) {
        switch_to_writethrough(&fe);
    }
    put_writes(&fe.ring[0], writes);
    printf("ready\n");
    (void)fflush(stdout);
    for (;;) {
        (void)frontend_wait(&fe, 100); /* silence is fine */
        if (strcmp(manner, "blind") == 0) {
            kick(&fe.ring[0]);
        }
        print_answered(&fe.ring[0]);
    }
}
