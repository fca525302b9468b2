/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A device, its guest, its front-end, its image and the process that it is in, in one thread: a
 * scheduler draws who goes on next from a seed, so that a run can be had again.  All of it is one
 * world, as there is one at a time.
 */

#include <setjmp.h>

#include "core/base/base.h"
#include "core/base/stats.h"
#include "core/device/device.h"

/* ---- what the seed decides ---- */

#define SIM_QUEUES 3u
#define SIM_LANES 3u

struct sim_config {
    bool is_packed;
    bool is_in_order;
    bool has_event_idx;
    bool has_indirect;
    bool has_log;
    bool is_direct; /* what is not whole sectors goes through bounce buffers */
    bool has_pipes; /* kicks come by pipes, which are read */
    unsigned queues;
    unsigned size; /* of a ring */
    unsigned max_inflight;
    unsigned error_permille; /* of the image's operations */
    unsigned pace;           /* others go on once in so many looks of the device */
    unsigned steps;
    unsigned crashes; /* at most */
    bool holds_errors;
    uint64_t features;
};

/* What a negative control leaves out, and which stores change places. */
struct sim_spoil {
    const char *name;
    unsigned hold;  /* enum store_class: is put off until one of `until` */
    unsigned until; /* CLASS_NONE: the end of the callback */
    bool is_packed;
    bool needs_log;
    bool has_no_fence; /* a new process does not wait for the I/O of the one before */
    bool frees_early;  /* it tells the driver meanwhile that its buffers are its own again */
    bool has_no_recovery;
};

struct sim {
    uint64_t seed;
    uint64_t random;
    uint64_t now_ns;
    bool is_traced;
    bool is_ending; /* no more faults are made: all is to be answered */
    struct sim_config config;
    const struct sim_spoil *spoil; /* lent, NULL: none */
    jmp_buf failed;
    char fault[256];
    unsigned events;
    unsigned offers; /* of the guest, that are left */

    /* Of all runs. */
    uint64_t requests; /* that were answered */
    uint64_t crashes;
    uint64_t retried; /* requests that a ring began with, as its log had them */
    uint64_t held;    /* requests that a person had to start again */
    struct stats stats;
};

extern struct sim sim;

/* Below `limit`, which is not 0. */
unsigned sim_draw(unsigned limit);

/* Once in so many. */
static inline bool sim_once_in(unsigned count)
{
    return sim_draw(count) == 0;
}

_Noreturn void sim_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

void sim_trace_line(const char *fmt, ...) PRINTF_LIKE(1, 2);

#define sim_trace(...)                   \
    do {                                 \
        if (sim.is_traced) {             \
            sim_trace_line(__VA_ARGS__); \
        }                                \
    } while (0)

/* A run from the beginning to its end.  Returns NULL, or what is wrong. */
const char *sim_run(uint64_t seed, const struct sim_spoil *spoil, bool is_traced);

/* Whoever does not stand in the device goes on by one step, from within it. */
void sim_meanwhile(void);
