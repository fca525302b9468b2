/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * vhost-load: load a vhost-user-blk back-end as a guest would, and print one JSON object.
 * One thread drives all queues; data is not checked.
 */

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/frontend.h"

struct load {
    const char *rw;
    bool is_random;
    bool is_write;
    uint32_t block_bytes;
    unsigned depth; /* on each queue */
    unsigned queues;
    uint64_t runtime_ns;
    uint64_t blocks;     /* on the disk */
    uint64_t next_block; /* sequential */
    uint64_t random;     /* state */
    uint64_t requests;
    uint64_t errors;
    uint64_t latency_ns; /* sum */
    bool is_measuring;
};

static bool parse_rw(struct load *load, const char *text)
{
    load->rw = text;
    load->is_random = strncmp(text, "rand", 4) == 0;
    load->is_write = strcmp(text + (load->is_random ? 4 : 0), "write") == 0;
    return load->is_write || strcmp(text + (load->is_random ? 4 : 0), "read") == 0;
}

/* xorshift64: good enough to scatter, and the same for every peer. */
static uint64_t next_random(struct load *load)
{
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return load->random;
}

static uint64_t next_sector(struct load *load)
{
    uint64_t block = load->is_random ? next_random(load) : load->next_block++;

    return block % load->blocks * (load->block_bytes / SECTOR_SIZE);
}

/* Keep the ring full.  Returns whether anything was put. */
static bool fill(struct load *load, struct frontend_ring *ring)
{
    uint32_t type = load->is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
    struct frontend_request *request;
    bool has_put = false;

    while ((request = frontend_prepare(ring, type, next_sector(load), load->block_bytes))) {
        frontend_put(request);
        has_put = true;
    }
    return has_put;
}

static void reap(struct load *load, struct frontend_ring *ring)
{
    struct frontend_request *request;

    while ((request = frontend_reap(ring))) {
        if (load->is_measuring) {
            load->requests++;
            load->errors += request->status != VIRTIO_BLK_S_OK;
            load->latency_ns += now_ns() - request->start_ns;
        }
        frontend_release(request);
    }
}

static void run_for(struct load *load, struct frontend *fe, uint64_t time_ns)
{
    uint64_t end_ns = now_ns() + time_ns;

    while (now_ns() < end_ns) {
        for (unsigned i = 0; i < load->queues; i++) {
            if (fill(load, &fe->ring[i])) {
                frontend_kick(&fe->ring[i]);
            }
        }
        if (frontend_wait(fe, FRONTEND_TIMEOUT_MS) < 0) {
            errx(EXIT_FAILURE, "the back-end has answered nothing for %d ms", FRONTEND_TIMEOUT_MS);
        }
        for (unsigned i = 0; i < load->queues; i++) {
            reap(load, &fe->ring[i]);
        }
    }
}

static void finish(struct load *load, struct frontend *fe)
{
    for (unsigned i = 0; i < load->queues; i++) {
        while (fe->ring[i].inflight > 0 && frontend_wait(fe, FRONTEND_TIMEOUT_MS) == 0) {
            reap(load, &fe->ring[i]);
        }
    }
}

static uint64_t sum_of_calls(const struct load *load, const struct frontend *fe)
{
    uint64_t calls = 0;

    for (unsigned i = 0; i < load->queues; i++) {
        calls += fe->ring[i].calls;
    }
    return calls;
}

/* No page of a buffer is to be faulted in while the clock runs. */
static void touch_buffers(const struct load *load, struct frontend *fe)
{
    for (unsigned i = 0; i < load->queues; i++) {
        for (unsigned j = 0; j < load->depth; j++) {
            memset(fe->ring[i].requests[j].data, 0x5a, load->block_bytes);
        }
    }
}

static void measure(struct load *load, struct frontend *fe)
{
    uint64_t start_ns, calls;
    double seconds;

    touch_buffers(load, fe);
    run_for(load, fe, load->runtime_ns / 10);
    calls = sum_of_calls(load, fe);
    load->is_measuring = true;
    start_ns = now_ns();
    run_for(load, fe, load->runtime_ns);
    seconds = (double)(now_ns() - start_ns) / NS_PER_S;
    load->is_measuring = false;
    calls = sum_of_calls(load, fe) - calls;
    finish(load, fe);
    printf("{\"rw\": \"%s\", \"bs\": %u, \"iodepth\": %u, \"queues\": %u, \"seconds\": %.3f, "
           "\"requests\": %llu, \"errors\": %llu, \"iops\": %.0f, \"mean_us\": %.2f, "
           "\"interrupts\": %llu}\n",
           load->rw, load->block_bytes, load->depth, load->queues, seconds,
           (unsigned long long)load->requests, (unsigned long long)load->errors,
           (double)load->requests / seconds,
           load->requests ? (double)load->latency_ns / 1000 / (double)load->requests : 0,
           (unsigned long long)calls);
}

static const char usage[] =
    "usage: vhost-load --socket PATH [--rw randread|randwrite|read|write] [--bs BYTES]\n"
    "                  [--iodepth N] [--queues N] [--runtime SECONDS]";

static const char *parse_args(struct load *load, int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"rw", required_argument, NULL, 'w'},
                                            {"bs", required_argument, NULL, 'b'},
                                            {"iodepth", required_argument, NULL, 'd'},
                                            {"queues", required_argument, NULL, 'q'},
                                            {"runtime", required_argument, NULL, 't'},
                                            {0}};
    const char *socket = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            socket = optarg;
            break;
        case 'w':
            if (!parse_rw(load, optarg)) {
                errx(2, "%s", usage);
            }
            break;
        case 'b':
            load->block_bytes = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            load->depth = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'q':
            load->queues = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            load->runtime_ns = (uint64_t)(strtod(optarg, NULL) * NS_PER_S);
            break;
        default:
            errx(2, "%s", usage);
        }
    }
    return socket;
}

static bool args_ok(const struct load *load)
{
    return load->block_bytes >= SECTOR_SIZE && load->block_bytes % SECTOR_SIZE == 0 &&
           load->depth > 0 && load->depth <= 64 && load->queues > 0 &&
           load->queues <= FRONTEND_MAX_RINGS && load->runtime_ns > 0;
}

int main(int argc, char **argv)
{
    struct load load = {.block_bytes = 4096,
                        .depth = 32,
                        .queues = 1,
                        .runtime_ns = 5 * NS_PER_S,
                        .random = 88172645463325252ull};
    struct frontend_opts opts = {.queue_size = 256};
    struct frontend fe;
    int ret;

    parse_rw(&load, "randread");
    opts.socket = parse_args(&load, argc, argv);
    if (!opts.socket || !args_ok(&load)) {
        errx(2, "%s", usage);
    }
    opts.queues = load.queues;
    opts.depth = load.depth;
    opts.request_bytes = load.block_bytes;
    frontend_init(&fe, &opts);
    ret = frontend_start(&fe);
    if (ret < 0) {
        errx(EXIT_FAILURE, "%s: cannot start: %s", opts.socket, strerror(-ret));
    }
    load.blocks = fe.config.capacity * SECTOR_SIZE / load.block_bytes;
    measure(&load, &fe);
    frontend_fini(&fe);
    return load.errors == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
