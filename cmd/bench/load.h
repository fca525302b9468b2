/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The load: keeps every queue of a front full of requests, or at a rate, and takes the time of
 * each.  Nothing is allocated while it runs.  Owned by main; one thread.
 */

#include "cmd/bench/front.h"
#include "cmd/bench/hist.h"
#include "cmd/bench/verify.h"

/* What was measured. */
struct load_result {
    struct hist latency; /* ns, requests of the measured time that went well */
    uint64_t time_ns;
    uint64_t client_cpu_ns;
    uint64_t kicks;
    uint64_t interrupts;
    uint64_t errors;       /* of all requests, ramp and check included */
    uint64_t all_requests; /* that were answered from begin to end, the check apart */
    bool is_interrupted;
};

struct load {
    const struct bench_options *options; /* lent */
    struct front *front;                 /* lent */
    uint64_t offset;                     /* where block 0 is, in sectors */
    uint64_t blocks;
    uint64_t next_block; /* sequential */
    uint64_t random;     /* state */
    struct verify verify;
    struct load_result result;
    struct err first_error; /* of a request, or of data */

    struct front_slot *free[BENCH_QUEUES_MAX];
    unsigned inflight;
    unsigned first_queue; /* to be filled first in the next turn */
    enum load_phase { LOAD_RAMP, LOAD_MEASURE, LOAD_DRAIN, LOAD_CHECK } phase;
    uint64_t phase_end_ns;
    uint64_t progress_ns; /* when something was answered or, with nothing under way, asked */
    uint64_t rate_start_ns;
    uint64_t rated; /* requests since */
    uint64_t shown_ns;
    uint64_t shown_count;
    bool shows_progress;
};

/* Is the disk fit for the load?  `load` is prepared to run. */
int load_init(struct load *load, const struct bench_options *options, struct front *front,
              struct err *err);
void load_fini(struct load *load);
