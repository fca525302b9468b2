/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * frontend-tests --socket PATH [--packed] [PATTERN]: run all cases, or those whose name contains
 * PATTERN, against the writable disk of at least 8 MiB that is served at PATH.  With --packed, by
 * packed rings, which the back-end has to have, and without those cases that write split ones by
 * hand.  TAP on standard output; needs nothing of the back-end but its socket.
 */

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/frontend_cases.h"

#define MAX_FRONTENDS 8
#define REFUSAL_MS 5000
#define CONNECT_NS (5 * NS_PER_S)

static const char *socket_path;
static bool is_packed;
static struct frontend *frontends[MAX_FRONTENDS]; /* of the case that runs */
static unsigned frontend_count;
static jmp_buf case_end;

void case_fail(const char *file, int line, const char *text)
{
    printf("# %s:%d: %s\n", file, line, text);
    longjmp(case_end, 1);
}

static void end_frontends(void)
{
    while (frontend_count > 0) {
        struct frontend *fe = frontends[--frontend_count];

        frontend_fini(fe);
        free(fe);
    }
}

struct frontend_opts case_opts(void)
{
    return (struct frontend_opts){
        .socket = socket_path,
        .queues = 2,
        .queue_size = 64,
        .depth = 16,
        .request_bytes = 65536,
        .is_packed = is_packed,
    };
}

struct frontend *case_frontend(const struct frontend_opts *opts)
{
    struct frontend *fe = calloc(1, sizeof(*fe));

    if (!fe || frontend_count == MAX_FRONTENDS) {
        errx(EXIT_FAILURE, "too many front-ends");
    }
    frontend_init(fe, opts);
    frontends[frontend_count++] = fe;
    return fe;
}

/* The client before may still be on its way out, and there is one at a time. */
static int patiently(int (*start)(struct frontend *fe), struct frontend *fe)
{
    uint64_t deadline_ns = now_ns() + CONNECT_NS;
    int ret;

    while ((ret = start(fe)) < 0 && now_ns() < deadline_ns) {
        frontend_disconnect(fe);
        poll(NULL, 0, 10);
    }
    if (ret < 0) {
        printf("# cannot connect: %s\n", fe->bus.err.text);
    }
    return ret;
}

static int connect_and_accept(struct frontend *fe)
{
    int ret = frontend_connect(fe);

    return ret == 0 ? frontend_accept(fe, vhost_user_client_features(fe->bus.client)) : ret;
}

struct frontend *case_connect_with(const struct frontend_opts *opts)
{
    struct frontend *fe;

    end_frontends();
    fe = case_frontend(opts);
    require(patiently(connect_and_accept, fe) == 0);
    return fe;
}

struct frontend *case_connect(void)
{
    struct frontend_opts opts = case_opts();

    return case_connect_with(&opts);
}

struct frontend *case_start(const struct frontend_opts *opts)
{
    struct frontend *fe;

    end_frontends();
    fe = case_frontend(opts);
    require(patiently(frontend_start, fe) == 0);
    return fe;
}

void case_round_trip(struct frontend_ring *ring, uint64_t sector)
{
    static unsigned seed;
    uint8_t out[4096], in[4096] = {0};

    seed++;
    for (size_t i = 0; i < sizeof(out); i++) {
        out[i] = (uint8_t)(i * 7 + seed * 13 + (i >> 8));
    }
    require(frontend_do(ring, VIRTIO_BLK_T_OUT, sector, out, sizeof(out)) == VIRTIO_BLK_S_OK);
    require(frontend_do(ring, VIRTIO_BLK_T_FLUSH, 0, NULL, 0) == VIRTIO_BLK_S_OK);
    require(frontend_do(ring, VIRTIO_BLK_T_IN, sector, in, sizeof(in)) == VIRTIO_BLK_S_OK);
    require(memcmp(in, out, sizeof(in)) == 0);
}

bool case_was_refused(struct frontend *fe)
{
    struct vhost_in in;
    uint64_t result = 0;
    int ret = vhost_recv(frontend_sock(fe), &in, REFUSAL_MS);

    if (ret == 0 && in.size == sizeof(result)) {
        memcpy(&result, in.payload, sizeof(result));
    }
    return ret == -ECONNRESET || ret == -EPIPE || result != 0;
}

static void good_client_is_served(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);

    case_round_trip(&fe->ring[0], 8);
    case_round_trip(&fe->ring[1], 16);
}

/* Returns whether all requirements of `run` held. */
static bool holds(void (*run)(void))
{
    volatile bool held = false;

    if (setjmp(case_end) == 0) {
        run();
        held = true;
    }
    end_frontends();
    return held;
}

static unsigned run_cases(const struct frontend_case *cases, const char *pattern, unsigned *number)
{
    unsigned failures = 0;

    for (; cases->name; cases++) {
        if (pattern && !strstr(cases->name, pattern)) {
            continue;
        }
        bool is_good = holds(cases->run);

        if (!holds(good_client_is_served)) {
            printf("# afterwards a good client is not served\n");
            is_good = false;
        }
        printf("%sok %u - %s\n", is_good ? "" : "not ", ++*number, cases->name);
        failures += !is_good;
    }
    return failures;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"packed", no_argument, NULL, 'p'}, {0}};
    const char *pattern;
    unsigned number = 0, failures = 0;
    int option;

    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((option = getopt_long(argc, argv, "s:p", options, NULL)) != -1) {
        if (option == 's') {
            socket_path = optarg;
        } else if (option == 'p') {
            is_packed = true;
        } else {
            return 2;
        }
    }
    if (!socket_path) {
        errx(2, "usage: frontend-tests --socket PATH [--packed] [PATTERN]");
    }
    pattern = argv[optind];
    failures += run_cases(good_cases, pattern, &number);
    failures += run_cases(life_cases, pattern, &number);
    failures += run_cases(range_cases, pattern, &number);
    failures += run_cases(cache_cases, pattern, &number);
    if (!is_packed) {
        failures += run_cases(large_cases, pattern, &number);
        failures += run_cases(bad_message_cases, pattern, &number);
        failures += run_cases(bad_ring_cases, pattern, &number);
    }
    printf("1..%u\n", number);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
