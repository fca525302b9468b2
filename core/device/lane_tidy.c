/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_tidy.h"

/* What was not used for that long, or up to twice that, is not worth its memory. */
#define TIDY_MS 2000

static void on_tidy(uv_timer_t *timer)
{
    struct lane *lane = timer->data;

    context_rest(&lane->context);
    lane_tidy_later(lane);
}

void lane_tidy_init(struct lane *lane)
{
    (void)uv_timer_init(lane->loop, &lane->tidy); /* neither can fail */
    lane->tidy.data = lane;
}

void lane_tidy_start(struct lane *lane)
{
    (void)uv_timer_start(&lane->tidy, on_tidy, TIDY_MS, 0);
}
