/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * hostile-peer --socket PATH [--rounds N] [--seed N] [--storm-ms N] [--hold] NAME...: be that
 * front-end, so many times, each with a connection of its own; --hold: keep the last one until a
 * signal ends it.  Without NAME: tell which there are.
 */

#include <err.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/hostile_peer.h"

#define CONNECT_NS (60 * NS_PER_S)

static const char *socket_path;
static uint64_t seed = 1;
static uint64_t storm_ns;
static uint64_t round_ns; /* when it began */

uint64_t hostile_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

unsigned hostile_below(unsigned bound)
{
    return (unsigned)(hostile_random() % bound);
}

bool hostile_goes_on(void)
{
    return now_ns() - round_ns < storm_ns;
}

void hostile_kick(struct frontend_ring *ring)
{
    uint64_t one = 1;

    (void)!write(ring->fds->kick, &one, sizeof(one)); /* it is full: so it is kicked */
}

/* How long a back-end may take to read what was sent before. */
#define ROOM_MS 2000

void hostile_send(struct frontend *fe, uint32_t request, const void *payload, uint32_t len,
                  const int *fds, unsigned fd_count)
{
    const struct vhost_out out = {.request = request,
                                  .flags = VHOST_FLAG_VERSION,
                                  .size = len,
                                  .len = len,
                                  .payload = payload,
                                  .fd_count = fd_count,
                                  .fds = fds};

    struct pollfd room = {.fd = frontend_sock(fe), .events = POLLOUT};

    (void)poll(&room, 1, ROOM_MS);   /* what finds no room would be lost, or half of it */
    (void)vhost_send(room.fd, &out); /* it may have hung up */
}

void hostile_load(struct frontend *fe)
{
    struct frontend_request *request;

    for (unsigned i = 0; i < fe->opts.queues; i++) {
        while ((request =
                    frontend_prepare(&fe->ring[i], VIRTIO_BLK_T_IN, hostile_below(64) * 8, 4096))) {
            frontend_put(request);
        }
        frontend_kick(&fe->ring[i]);
    }
}

static int begin(struct frontend *fe, const struct hostile *hostile)
{
    int ret;

    if (hostile->has_rings) {
        return frontend_start(fe);
    }
    ret = frontend_connect(fe);
    return ret == 0 ? frontend_accept(fe, vhost_user_client_features(fe->bus.client)) : ret;
}

/* The one before may still be on its way out. */
static void be_connected(struct frontend *fe, const struct hostile *hostile)
{
    uint64_t deadline_ns = now_ns() + CONNECT_NS;

    while (begin(fe, hostile) < 0) {
        if (now_ns() > deadline_ns) {
            errx(EXIT_FAILURE, "%s: cannot connect: %s", hostile->name, fe->bus.err.text);
        }
        frontend_disconnect(fe);
        (void)poll(NULL, 0, 1);
    }
}

static void do_round(const struct hostile *hostile, bool holds)
{
    const struct frontend_opts opts = {.socket = socket_path,
                                       .queues = 2,
                                       .queue_size = 64,
                                       .depth = 16,
                                       .request_bytes = 65536,
                                       .is_packed = hostile->is_packed,
                                       .is_tracked = hostile->is_tracked};
    struct frontend fe;

    frontend_init(&fe, &opts);
    be_connected(&fe, hostile);
    round_ns = now_ns();
    hostile->round(&fe);
    if (holds) {
        printf("holding\n");
        (void)pause();
    }
    frontend_fini(&fe);
}

static const struct hostile *find_in(const struct hostile *hostile, const char *name)
{
    while (hostile->name && (!name || strcmp(hostile->name, name) != 0)) {
        if (!name) {
            printf("%s\n", hostile->name);
        }
        hostile++;
    }
    return hostile->name ? hostile : NULL;
}

static const struct hostile *find(const char *name)
{
    const struct hostile *hostile = find_in(hostile_rings, name);

    return hostile ? hostile : find_in(hostile_messages, name);
}

static void do_rounds(const char *name, unsigned rounds, bool holds)
{
    const struct hostile *hostile = find(name);

    if (!hostile) {
        errx(2, "there is no \"%s\"", name);
    }
    for (unsigned i = 0; i < rounds; i++) {
        do_round(hostile, holds && i + 1 == rounds);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},   {"rounds", required_argument, NULL, 'r'},
        {"seed", required_argument, NULL, 'e'},     {"hold", no_argument, NULL, 'h'},
        {"storm-ms", required_argument, NULL, 't'}, {0}};
    unsigned rounds = 1;
    bool holds = false;
    int option;

    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((option = getopt_long(argc, argv, "s:r:e:t:h", options, NULL)) != -1) {
        switch (option) {
        case 's':
            socket_path = optarg;
            break;
        case 'r':
            rounds = (unsigned)atoi(optarg);
            break;
        case 'e':
            seed = 0x9e3779b97f4a7c15ull * ((uint64_t)atoi(optarg) + 1);
            break;
        case 't':
            storm_ns = (uint64_t)atoi(optarg) * (NS_PER_S / 1000);
            break;
        case 'h':
            holds = true;
            break;
        default:
            return 2;
        }
    }
    for (int i = optind; i < argc; i++) {
        do_rounds(argv[i], rounds, holds);
    }
    if (optind == argc) {
        (void)find(NULL);
    }
    return EXIT_SUCCESS;
}
