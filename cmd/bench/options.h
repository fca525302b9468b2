/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What vblkbench is told on its command line.  Texts are lent by argv.
 */

#include "core/base/base.h"

#define BENCH_DEPTH_MAX 256u
#define BENCH_QUEUES_MAX 64u
#define BENCH_BLOCK_MAX (16u << 20)

enum bench_rw {
    BENCH_RANDREAD,
    BENCH_RANDWRITE,
    BENCH_READ,
    BENCH_WRITE,
    BENCH_RANDRW,
    BENCH_FLUSH,
    BENCH_DISCARD,
};

struct bench_options {
    const char *disk;    /* a name of vblkd's, or a socket's path */
    const char *control; /* NULL: the default */
    enum bench_rw rw;
    uint32_t block_bytes;
    unsigned depth; /* on each queue */
    unsigned queues;
    uint64_t runtime_ns;
    uint64_t ramp_ns;
    uint64_t timeout_ns;
    uint64_t rate;   /* requests a second, 0: as many as go */
    uint64_t offset; /* bytes */
    uint64_t size;   /* bytes, 0: to the end of the disk */
    bool verifies;
    bool polls;
    bool is_packed; /* its rings */
    bool has_huge_pages;
    bool allows_write;
    bool is_json;
};

/* Returns -1 to go on, or the exit status after --help, --version or a mistake. */
int bench_options_parse(struct bench_options *options, int argc, char **argv);

/* "randread". */
const char *bench_rw_name(enum bench_rw rw);

/* Does it change the disk? */
static inline bool bench_writes(const struct bench_options *options)
{
    return options->verifies || !(options->rw == BENCH_RANDREAD || options->rw == BENCH_READ ||
                                  options->rw == BENCH_FLUSH);
}
