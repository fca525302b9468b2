/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * discard-load SOCKET FILE BYTES: how long random reads of 4 KiB take while the first BYTES of a
 * disk are given back, by its discards and by another process that punches holes into its FILE, in
 * pieces of the same size, in turn.  Reads go to what lies behind BYTES, a few at a time.
 * Run by tests/bench/discard.
 */

#define _GNU_SOURCE 1 /* fallocate */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/frontend.h"

#define ROUNDS 5u
#define DEPTH 4u
#define READ_BYTES 4096u
#define PIECE_BYTES (32ull << 20) /* as vblkd's, see core/block/wipe.h */
#define DISCARD_BYTES (1ull << 30)
#define EXTENT_BYTES (64ull << 10)
#define SAMPLES (1u << 22)

struct load {
    struct frontend fe;
    uint64_t sectors; /* of the disk */
    uint64_t bytes;
    int fd;
    uint64_t put_ns[DEPTH];
    struct frontend_request *reads[DEPTH];
    uint32_t *sample_us;
    unsigned count;
    uint64_t random;
};

static uint64_t any_sector(struct load *load)
{
    uint64_t first = load->bytes / SECTOR_SIZE;
    uint64_t blocks = (load->sectors - first) * SECTOR_SIZE / READ_BYTES;

    load->random = load->random * 6364136223846793005ull + 1442695040888963407ull;
    return first + (load->random >> 33) % blocks * (READ_BYTES / SECTOR_SIZE);
}

static void put_read(struct load *load, unsigned slot)
{
    load->reads[slot] =
        frontend_prepare(&load->fe.ring[0], VIRTIO_BLK_T_IN, any_sector(load), READ_BYTES);
    load->put_ns[slot] = now_ns();
    frontend_put(load->reads[slot]);
}

static void check(const struct frontend_request *request)
{
    if (request->blk->status != VIRTIO_BLK_S_OK) {
        errx(EXIT_FAILURE, "the disk answers %u", request->blk->status);
    }
}

/* What is done is put anew, unless it is to end. */
static void turn(struct load *load, bool goes_on)
{
    struct frontend_request *done;

    if (frontend_wait(&load->fe, FRONTEND_TIMEOUT_MS) < 0) {
        errx(EXIT_FAILURE, "the disk does not answer");
    }
    while ((done = frontend_reap(&load->fe.ring[0]))) {
        unsigned slot = 0;

        while (load->reads[slot] != done) {
            slot++;
        }
        check(done);
        if (load->count < SAMPLES) {
            load->sample_us[load->count++] =
                (uint32_t)((now_ns() - load->put_ns[slot]) / NS_PER_US);
        }
        frontend_release(done);
        if (goes_on) {
            put_read(load, slot);
        }
    }
    if (goes_on) {
        frontend_kick(&load->fe.ring[0]);
    }
}

/* Returns true when there is nothing left to discard. */
static bool discard_next(struct load *load, uint64_t *at)
{
    struct frontend_ring *ring = &load->fe.ring[1];
    struct frontend_request *done = frontend_reap(ring);
    struct virtio_blk_discard_write_zeroes range = {
        .sector = *at / SECTOR_SIZE,
        .num_sectors = (uint32_t)(min_of(DISCARD_BYTES, load->bytes - *at) / SECTOR_SIZE)};

    if (done) {
        check(done);
        frontend_release(done);
    }
    if (ring->inflight > 0 || *at >= load->bytes) {
        return ring->inflight == 0;
    }
    done = frontend_prepare(ring, VIRTIO_BLK_T_DISCARD, 0, sizeof(range));
    memcpy(done->data, &range, sizeof(range));
    frontend_put(done);
    frontend_kick(ring);
    *at += DISCARD_BYTES;
    return false;
}

/* A process of its own, as `fallocate -p` would be. */
static pid_t punch(const struct load *load)
{
    pid_t pid = fork();

    for (uint64_t at = 0; pid == 0 && at < load->bytes; at += PIECE_BYTES) {
        if (fallocate(load->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
                      (off_t)PIECE_BYTES) < 0) {
            _exit(EXIT_FAILURE);
        }
    }
    if (pid == 0) {
        _exit(EXIT_SUCCESS);
    }
    return pid;
}

static int compare(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;

    return first < second ? -1 : first > second;
}

static uint32_t quantile(const struct load *load, uint64_t permille)
{
    return load->sample_us[(load->count - 1) * permille / 1000];
}

/* Returns the 99th percentile. */
static uint32_t report(struct load *load, const char *what, uint64_t began_ns)
{
    double s = (double)(now_ns() - began_ns) / NS_PER_S;

    qsort(load->sample_us, load->count, sizeof(*load->sample_us), compare);
    printf("%-12s %6.2f s %8u reads   p50 %6u   p99 %6u   p99.9 %6u   max %7u us\n", what, s,
           load->count, quantile(load, 500), quantile(load, 990), quantile(load, 999),
           quantile(load, 1000));
    return quantile(load, 990);
}

/* In many extents, as a file system that was used: one extent would be gone at once. */
static void fill(const struct load *load)
{
    static const uint8_t block[4096] = {1};
    bool is_good = fallocate(load->fd, 0, 0, (off_t)load->bytes) == 0;

    for (uint64_t at = 0; is_good && at < load->bytes; at += EXTENT_BYTES) {
        is_good = pwrite(load->fd, block, sizeof(block), (off_t)at) == (ssize_t)sizeof(block);
    }
    if (!is_good || fsync(load->fd) < 0) {
        err(EXIT_FAILURE, "cannot fill the disk");
    }
}

static uint32_t run(struct load *load, bool by_disk)
{
    uint64_t began_ns, at = 0;
    uint32_t p99;
    bool is_over = false;
    pid_t pid;

    fill(load);
    load->count = 0;
    for (unsigned i = 0; i < DEPTH; i++) {
        put_read(load, i);
    }
    frontend_kick(&load->fe.ring[0]);
    began_ns = now_ns();
    pid = by_disk ? -1 : punch(load);
    while (!is_over) {
        is_over = by_disk ? discard_next(load, &at) : waitpid(pid, NULL, WNOHANG) == pid;
        turn(load, true);
    }
    p99 = report(load, by_disk ? "discard" : "fallocate -p", began_ns);
    while (load->fe.ring[0].inflight > 0) {
        turn(load, false);
    }
    return p99;
}

static uint32_t median(uint32_t *of_rounds)
{
    qsort(of_rounds, ROUNDS, sizeof(*of_rounds), compare);
    return of_rounds[ROUNDS / 2];
}

int main(int argc, char **argv)
{
    static struct load load;
    struct frontend_opts opts = {
        .queues = 2, .queue_size = 64, .depth = DEPTH, .request_bytes = READ_BYTES};
    struct virtio_blk_config config;
    uint32_t discards[ROUNDS], punches[ROUNDS];

    if (argc != 4) {
        errx(2, "usage: discard-load SOCKET FILE BYTES");
    }
    opts.socket = argv[1];
    load.fd = open(argv[2], O_RDWR | O_CLOEXEC);
    load.bytes = strtoull(argv[3], NULL, 10);
    load.sample_us = calloc(SAMPLES, sizeof(*load.sample_us));
    load.random = 1;
    if (load.fd < 0 || !load.sample_us) {
        err(EXIT_FAILURE, "%s", argv[2]);
    }
    frontend_init(&load.fe, &opts);
    if (frontend_start(&load.fe) < 0) {
        errx(EXIT_FAILURE, "%s: %s", argv[1], load.fe.bus.err.text);
    }
    vhost_user_client_config_read(load.fe.bus.client, 0, &config, sizeof(config));
    load.sectors = config.capacity;
    for (unsigned i = 0; i < ROUNDS; i++) {
        discards[i] = run(&load, true);
        punches[i] = run(&load, false);
    }
    printf("median of p99: %u us beside discards, %u us beside fallocate -p\n", median(discards),
           median(punches));
    frontend_fini(&load.fe);
    return EXIT_SUCCESS;
}
