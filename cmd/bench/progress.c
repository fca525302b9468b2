/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/progress.h"

#include <inttypes.h>
#include <stdio.h>

#define CLEAR "\r\033[K"

void progress_clear(const struct load *load)
{
    if (load->shows_progress) {
        (void)fprintf(stderr, CLEAR);
    }
}

/* What is left of the ramp or of the measured time. */
static uint64_t seconds_left(const struct load *load, uint64_t now)
{
    return load->phase_end_ns > now ? (load->phase_end_ns - now + NS_PER_S / 2) / NS_PER_S : 0;
}

void progress_show(struct load *load, uint64_t now)
{
    uint64_t time_ns = now - load->shown_ns;
    uint64_t count = load->result.all_requests - load->shown_count;
    double rate = (double)count * (double)NS_PER_S / (double)time_ns;

    if (!load->shows_progress || time_ns < NS_PER_S) {
        return;
    }
    load->shown_ns = now;
    load->shown_count = load->result.all_requests;
    switch (load->phase) {
    case LOAD_RAMP:
    case LOAD_MEASURE:
        (void)fprintf(stderr, CLEAR "%.0f IOPS, %.1f MiB/s, %" PRIu64 " s left%s", rate,
                      rate * load->options->block_bytes / (1 << 20), seconds_left(load, now),
                      load->phase == LOAD_RAMP ? " of the ramp" : "");
        break;
    case LOAD_DRAIN:
        (void)fprintf(stderr, CLEAR "%u requests are under way", load->inflight);
        break;
    case LOAD_CHECK:
        (void)fprintf(stderr, CLEAR "checking: %" PRIu64 " %%",
                      load->next_block * 100 / load->blocks);
        break;
    }
    (void)fflush(stderr);
}
